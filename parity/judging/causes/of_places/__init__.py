"""Mistakes of pooling, of resizing, and of moving, choosing and counting values."""

from parity.judging.causes.of_places import of_order, of_pools, of_reductions, of_resizing, of_selection

__all__ = ["of_order", "of_pools", "of_reductions", "of_resizing", "of_selection"]
