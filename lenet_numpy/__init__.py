"""LeNet in NumPy: every layer and its gradient written out."""
