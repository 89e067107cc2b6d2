"""Layers that a graph holds as several nodes, with right and wrong ports of them."""
