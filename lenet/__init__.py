"""One LeNet-style CNN: the parts that do not depend on a framework."""

__version__ = "0.1.0"
