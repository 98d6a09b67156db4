"""Whole studies: pages, figures of many methods, comparisons, diagnoses."""
