"""LeNet in PyTorch: an `nn.Module`, gradients by autograd.

PyTorch (A. Paszke, S. Gross, S. Chintala and others at Facebook, 2016) introduced many users to "define by
run": the network is an ordinary program, and its graph is recorded while the program runs.
"""
