"""LeNet in PyTorch: an `nn.Module`, gradients by autograd.

PyTorch (A. Paszke, S. Gross, S. Chintala and others at Facebook, 2016) stood for "define by run": the
network is the program that runs, and its graph is what was recorded on the way.
"""
