"""LeNet in NumPy: every layer and its gradient written out.

NumPy (T. Oliphant and others, 1.0 in 2006) has arrays and no layers or gradients, so this port shows
everything that a framework does for you.
"""
