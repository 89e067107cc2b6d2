"""Mistakes in how nodes are connected, and with which parameters."""
