"""Mistakes in graphs in which a layer stands as several nodes of arithmetic."""

from parity.judging.causes.decomposed import (
    of_attentions,
    of_layers,
    of_masks,
    of_operands,
    of_parts,
    of_rotations,
    of_scalars,
)

__all__ = ["of_attentions", "of_layers", "of_masks", "of_operands", "of_parts", "of_rotations", "of_scalars"]
