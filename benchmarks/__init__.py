"""Measurements against hand-written code and against other toolkits; nothing here is timed in the tests."""
