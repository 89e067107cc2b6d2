"""The bounds and the certificates: never violated, and not too wide."""
