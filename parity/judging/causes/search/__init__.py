"""Searches the catalogue for the mistake, or the two mistakes, that explain a wrong tensor.

A mistake is named only if the operator with this mistake is right about every value of the tensor, by both
yardsticks, and if its bound is narrower than the error that it explains.
"""

from parity.judging.causes.search.explaining import explained

__all__ = ["explained"]
