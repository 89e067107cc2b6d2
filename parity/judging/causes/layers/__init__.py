"""Mistakes in layers that the graph holds as one operator: normalizations, activations, attention, recurrent ones."""
