"""Mistakes one by one, and the search for them: plain NumPy computes what a wrong port should return."""
