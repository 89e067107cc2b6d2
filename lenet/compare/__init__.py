"""Compares ports: by function, by the bits that they return, and by speed."""

from lenet.compare.layer_by_layer import (
    Comparison,
    LayerReport,
    PortReport,
    compare,
    judge_layers,
    less_accurate,
    outputs_problem,
)

__all__ = [
    "Comparison",
    "LayerReport",
    "PortReport",
    "compare",
    "judge_layers",
    "less_accurate",
    "outputs_problem",
]
