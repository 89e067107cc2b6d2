"""One LeNet-style CNN, what no framework changes: its mathematics, weights, data and judge."""

__version__ = "0.1.0"
