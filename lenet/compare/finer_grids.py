"""Adds bits to exact weights until the certificate fails and ports differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lenet.compare.layer_by_layer import outputs_problem
from lenet.network.architecture import PARAM_SHAPES
from lenet.network.weights import Params
from lenet.ports import Port
from lenet.ports.calling import PortFailed, calling
from lenet.reference.certificate import BatchCertificate, certify
from lenet.reference.exact import Difference, first_difference, forward, walk
from parity.arithmetic import Array, integers


@dataclass(frozen=True)
class Forced:
    """An exact value that the format cannot represent, so that no implementation can return it."""

    layer: str
    where: tuple[int, ...]


@dataclass(frozen=True)
class Level:
    """The results with weights that have `bits` more bits than the exact weights.

    Attributes:
        bits: the number of bits added to every weight that is not zero.
        certificate: the certificate for the given digits.
        forced: the first rounding that no implementation can avoid; None if there is none.
        apart: {port: its first difference from the first port, or None}, for all ports but the first.
        logits, unequal: the number of logits, and of those on which the ports do not all agree.
        wrong: {port: its first difference from the integers}, of the ports that differ although the
            certificate holds: these are another function.
    """

    bits: int
    certificate: BatchCertificate
    forced: Forced | None
    apart: dict[str, Difference | None]
    logits: int
    unequal: int
    wrong: dict[str, Difference]


def refine(params: Mapping[str, Array], bits: int, seed: int = 0) -> Params:
    """The same weights on a grid finer by `bits`: every nonzero weight moves up or down by a grid step.

    With `bits` = 0 the weights do not change. Biases never change.
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
    """For each level of refinement: the certificate, the first forced rounding, and the ports' differences.

    Args:
        ports: opened, float32; weights are loaded here.
        params: exact weights.
        images: (N, 1, 28, 28) as `lenet.reference.exact.coarsen` makes them.
        bits: the number of added bits of each level.

    Raises:
        PortFailed: a port raises an error.
    """
    for more in bits:
        refined = refine(params, more)
        shown = []
        for port in ports:
            with calling(port):
                port.load(refined)
                activations = port.activations(images)
                if problem := outputs_problem(activations, activations["logits"], len(images), port.dtype):
                    raise PortFailed(port.name, problem)
                shown.append(activations)
        logits = np.stack([activations["logits"] for activations in shown])
        certificate = certify(refined, images)
        right = forward(refined, images) if certificate.holds else {}
        exact = {name: y.to_float("float32") for name, y in right.items()}
        yield Level(
            more,
            certificate,
            forced_rounding(refined, images),
            {
                port.name: first_difference(shown[0], activations)
                for port, activations in zip(ports[1:], shown[1:], strict=True)
            },
            logits[0].size,
            int((logits != logits[0]).any(axis=0).sum()),
            {
                port.name: found
                for port, activations in zip(ports, shown, strict=True)
                if exact and (found := first_difference(exact, activations)) is not None
            },
        )


def forced_rounding(params: Mapping[str, Array], images: Array, dtype: str = "float32") -> Forced | None:
    """The first exact activation, in order of execution, that `dtype` cannot represent."""
    significant = np.finfo(dtype).nmant + 1
    for layer, _, y in walk(params, integers(images, "images")):
        odd = y.units // np.maximum(y.units & -y.units, 1)  # without trailing zero bits
        lost = np.abs(odd) >= 1 << significant
        if lost.any():
            return Forced(layer.name, tuple(int(i) for i in np.unravel_index(lost.argmax(), lost.shape)))
    return None
