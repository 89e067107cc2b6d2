"""The network with ReLUs as ½(|x + b| + x + b): the same function, but it rounds.

Theano 0.8.2 compiles ReLU behind a bias to this formula. Its bound is in
`parity.judging.causes.of_rounding.of_half_sums`.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import pairwise

from lenet.network.architecture import LAYERS, LENET, Network
from parity.arithmetic import Array
from parity.arithmetic.floats import FORMATS
from parity.judging.causes.of_rounding.of_half_sums import HalfSum, is_half_sum
from parity.operators.activation import Relu

# The layer that each ReLU follows, which adds the bias.
BIASED = {relu.name: before for before, relu in pairwise(LAYERS) if isinstance(relu.operator, Relu)}


def half_sum(relu: str, params: Mapping[str, Array]) -> HalfSum:
    """The formula in the place of a ReLU, with the bias of the layer before it."""
    name = BIASED[relu].name
    return HalfSum(params[f"{name}.bias"].reshape(-1, *[1] * (params[f"{name}.weight"].ndim - 2)))


def with_half_sums(params: Mapping[str, Array], relus: Collection[str]) -> Network:
    """The network of these parameters, with the formula in the place of these ReLUs."""
    layers = [
        replace(one, operator=half_sum(one.name, params)) if one.name in relus else one for one in LAYERS
    ]
    return Network(tuple(layers), LENET.image_shape)


def rounding_relus(params: Mapping[str, Array], activations: Mapping[str, Array]) -> list[str]:
    """The ReLUs whose errors are those of the formula, given a port's own values before them."""
    return [
        relu
        for relu, before in BIASED.items()
        if is_half_sum(
            activations[before.name],
            half_sum(relu, params).bias,
            activations[relu],
            FORMATS[activations[relu].dtype.name],
        )
    ]
