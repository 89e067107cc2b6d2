"""Ports judged: rounding or another function, to the bit where nothing can round."""
