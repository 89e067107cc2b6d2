"""Mistakes of losses and gradients with a number in them (a smoothing, a limit), read off the values."""
