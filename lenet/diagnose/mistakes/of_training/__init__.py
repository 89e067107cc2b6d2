"""Mistakes with a number in them (a smoothing, a limit, a weight), which is read off the returned values."""
