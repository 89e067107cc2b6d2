"""Judges a candidate: the graph is followed, each recorded tensor held against two yardsticks."""

from parity.judging.walk import judge

__all__ = ["judge"]
