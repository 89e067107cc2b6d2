"""LeNet in NumPy: every layer and its gradient written out.

NumPy (T. Oliphant and others, 1.0 in 2006) stands for arrays and nothing above them: what a framework
does for you is done here in the open.
"""
