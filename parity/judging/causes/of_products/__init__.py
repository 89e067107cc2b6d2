"""Mistakes of convolutions and matrix products: padding, kernels, channels, weights, bias, inputs."""

from parity.judging.causes.of_products import (
    of_biases,
    of_channels,
    of_inputs,
    of_kernels,
    of_matrices,
    of_padding,
    of_permutations,
    of_saturation,
    of_transposed,
)

__all__ = [
    "of_biases",
    "of_channels",
    "of_inputs",
    "of_kernels",
    "of_matrices",
    "of_padding",
    "of_permutations",
    "of_saturation",
    "of_transposed",
]
