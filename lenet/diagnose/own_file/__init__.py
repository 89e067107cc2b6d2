"""Judges a port in somebody's own file: its interface, and the process that it runs in."""
