"""Commands on weights files: conversion between formats, and what a file holds."""
