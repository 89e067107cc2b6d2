"""Mistakes in layers that the graph holds as one operator: normalizations, attention, recurrent layers."""

from parity.judging.causes.layers import (
    of_activation,
    of_attention,
    of_groups,
    of_heads,
    of_moments,
    of_normalization,
    of_recurrent,
    of_rotation,
    of_sequences,
)

__all__ = [
    "of_activation",
    "of_attention",
    "of_groups",
    "of_heads",
    "of_moments",
    "of_normalization",
    "of_recurrent",
    "of_rotation",
    "of_sequences",
]
