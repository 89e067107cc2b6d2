"""LeNet in PyTorch: an `nn.Module`, gradients by autograd."""
