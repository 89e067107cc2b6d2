"""LeNet in Flax NNX: a module with parameters of its own, on top of JAX's pure functions.

Flax NNX (Google DeepMind, 2024) gave JAX's users what PyTorch's have: a model is an object that holds its
parameters, and a training step changes them in place. Its transformations (`nnx.jit`, `nnx.value_and_grad`)
split such an object into a pytree, call JAX's own, and write the results back. Optax brings the optimizers.
"""
