"""Which known mistake explains a wrong tensor: a catalogue by family of operators, and the search."""

from parity.judging.causes import decomposed, layers, of_places, of_products, of_rounding, written_out
from parity.judging.causes.mistake import CATALOGUE, Mistake, mistakes
from parity.judging.causes.search import judge

FAMILIES = (of_products, layers, decomposed, of_places, of_rounding, written_out)  # the likely ones first

__all__ = ["CATALOGUE", "FAMILIES", "Mistake", "judge", "mistakes"]
