"""Rounding or a bug, and which bug? Judges a port of any network against its graph."""
