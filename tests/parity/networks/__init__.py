"""Networks of everyday use, each in PyTorch and in Keras with shared weights, and mistakes that a port makes."""
