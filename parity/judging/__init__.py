"""Judges a candidate: follows the graph and compares each recorded tensor with two yardsticks."""

from parity.judging.walk import judge

__all__ = ["judge"]
