"""LeNet in JAX: pure functions of a pytree of parameters, gradients by `jax.grad`.

JAX appeared in 2018. Its main idea is the transformation of functions: a function written like NumPy code can
be differentiated (`grad`, `vjp`) and compiled by XLA (`jit`), if it changes nothing in place. So a training
step returns the next model instead of updating this model.
"""
