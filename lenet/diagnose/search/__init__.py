"""Searches the catalogue for one mistake, or two, that explain a wrong stretch of the forward pass."""
