"""LeNet in JAX: pure functions of a pytree of parameters, gradients by `jax.grad`.

JAX came out in 2018 and stands for transformations of functions: what is written in the manner of
NumPy is differentiated (`grad`, `vjp`) and compiled by XLA (`jit`), on condition that it changes
nothing in place. A training step therefore returns the next model instead of updating this one.
"""
