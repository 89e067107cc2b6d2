"""Which known mistake explains a wrong tensor: a catalogue by family of operators, and the search."""

from parity.judging.causes import of_activation, of_normalization, of_places, of_products, of_rounding
from parity.judging.causes.mistake import CATALOGUE, Mistake, mistakes
from parity.judging.causes.search import judge

FAMILIES = (of_products, of_normalization, of_places, of_activation, of_rounding)

__all__ = ["CATALOGUE", "FAMILIES", "Mistake", "judge", "mistakes"]
