"""Mistakes of layers that somebody wrote out: loops, indices, signs, windows; by family of operators."""

from parity.judging.causes.written_out import (
    biases,
    channels,
    flattening,
    kernels,
    places,
    pooled,
    rectifiers,
)

__all__ = ["biases", "channels", "flattening", "kernels", "places", "pooled", "rectifiers"]
