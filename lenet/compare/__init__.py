"""Compares ports: are they the same function, do they return the same bits, how fast are they?"""

from lenet.compare.layer_by_layer import (
    Comparison,
    LayerReport,
    PortReport,
    compare,
    judge_layers,
    outputs_problem,
)

__all__ = ["Comparison", "LayerReport", "PortReport", "compare", "judge_layers", "outputs_problem"]
