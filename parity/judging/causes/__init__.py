"""Which known mistake explains a wrong tensor: a catalogue by family of operators, and the search."""

from parity.judging.causes import of_pooling, of_precision, of_products
from parity.judging.causes.decomposed import (
    of_attentions,
    of_layers,
    of_masks,
    of_operands,
    of_parts,
    of_rotations,
)
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
from parity.judging.causes.mistake import CATALOGUE, Mistake, mistakes
from parity.judging.causes.search import judge

FAMILIES = (
    *(
        of_products,
        of_normalization,
        of_moments,
        of_groups,
        of_pooling,
        of_activation,
        of_attention,
        of_heads,
    ),
    *(
        of_rotation,
        of_recurrent,
        of_sequences,
        of_layers,
        of_rotations,
        of_attentions,
        of_operands,
        of_masks,
        of_parts,
        of_precision,
    ),
)

__all__ = ["CATALOGUE", "FAMILIES", "Mistake", "judge", "mistakes"]
