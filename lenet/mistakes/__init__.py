"""The catalogue of known mistakes, by family."""
