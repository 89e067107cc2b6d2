"""Damaged files for every reader: a fixed number in the tests, any number by `python -m tests.fuzz`."""
