"""Adds bits to exact weights until the certificate breaks and ports differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lenet.network.architecture import PARAM_SHAPES
from lenet.network.weights import Params
from lenet.ports import Port
from lenet.reference.certificate import BatchCertificate, certify
from lenet.reference.exact import Difference, first_difference, walk
from parity.arithmetic import Array, integers


@dataclass(frozen=True)
class Forced:
    """An exact value that the format does not hold: no implementation can return it."""

    layer: str
    where: tuple[int, ...]


@dataclass(frozen=True)
class Level:
    """What was seen with weights that have `bits` more bits than the exact ones.

    Attributes:
        bits: added to every weight that is not zero.
        certificate: of the digits given.
        forced: the first rounding that nobody can avoid; None if there is none.
        apart: for every port but the first, where it first differs from the first; None: nowhere.
        logits, unequal: how many there were; on how many of them the ports do not all agree.
    """

    bits: int
    certificate: BatchCertificate
    forced: Forced | None
    apart: dict[str, Difference | None]
    logits: int
    unequal: int


def refine(params: Mapping[str, Array], bits: int, seed: int = 0) -> Params:
    """The same weights on a grid finer by `bits`: every weight but zero moved up or down by one of it.

    With `bits` = 0 they are as they were. Biases stay.
    """
    rng, refined = np.random.default_rng(seed), {}
    for name in PARAM_SHAPES:
        refined[name] = params[name].copy()
        if bits and name.endswith("weight"):
            step = 2.0 ** (integers(params[name], name).exponent - bits)
            moves = np.where(params[name] == 0, 0, rng.choice([-step, step], params[name].shape))
            refined[name] += moves.astype(params[name].dtype)
    return refined


def levels(
    ports: Sequence[Port], params: Mapping[str, Array], images: Array, bits: Sequence[int] = range(5)
) -> Iterator[Level]:
    """Each level of refinement: certificate, first forced rounding, and what the ports make of it.

    Args:
        ports: opened, float32; weights are loaded here.
        params: exact weights.
        images: (N, 1, 28, 28) as `lenet.reference.exact.coarsen` makes them.
        bits: how much finer each level is.
    """
    for more in bits:
        refined = refine(params, more)
        for port in ports:
            port.load(refined)
        shown = [port.activations(images) for port in ports]
        logits = np.stack([activations["logits"] for activations in shown])
        yield Level(
            more,
            certify(refined, images),
            forced_rounding(refined, images),
            {
                port.name: first_difference(shown[0], activations)
                for port, activations in zip(ports[1:], shown[1:], strict=True)
            },
            logits[0].size,
            int((logits != logits[0]).any(axis=0).sum()),
        )


def forced_rounding(params: Mapping[str, Array], images: Array, dtype: str = "float32") -> Forced | None:
    """The first exact activation, in order of execution, that `dtype` does not hold."""
    significant = np.finfo(dtype).nmant + 1
    for layer, _, y in walk(params, integers(images, "images")):
        odd = y.units // np.maximum(y.units & -y.units, 1)  # less its trailing zeros
        lost = np.abs(odd) >= 1 << significant
        if lost.any():
            return Forced(layer.name, tuple(int(i) for i in np.unravel_index(lost.argmax(), lost.shape)))
    return None
