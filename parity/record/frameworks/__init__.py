"""Recorders, one for each framework; each imports its framework when it is called."""
