"""A candidate's tensors: from an npz file, or from a runtime that runs the model."""

from parity.record.npz import read_npz

__all__ = ["read_npz"]
