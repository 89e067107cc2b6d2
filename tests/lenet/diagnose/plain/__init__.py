"""Each mistake by itself: plain NumPy computes what a wrong port should return, and nothing is searched."""
