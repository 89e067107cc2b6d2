"""Mistakes in layers that the graph holds as one operator: normalizations, attention, recurrent layers."""
