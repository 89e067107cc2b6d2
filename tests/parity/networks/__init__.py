"""Networks of everyday use, each in PyTorch and in Keras with shared weights, and mistakes of ports."""
