"""Ports with planted faults: what must be noticed."""
