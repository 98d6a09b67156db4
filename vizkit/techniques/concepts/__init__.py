"""Concepts: what a layer has in common over many pictures, named, found, or laid out as an atlas."""
