"""Mistakes of losses and gradients with a number in them: the number is read off what a port returned."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lenet.diagnose import diagnose
from lenet.diagnose.mistakes.read_off.limits import own_norm_of
from lenet.diagnose.probe_inputs import Observed, standard
from lenet.ports import Arrays, open_port
from parity.arithmetic import Bounded
from tests.planted.bugs import seen_patched

pytestmark = pytest.mark.slow

Array = np.ndarray
PROBES = standard()
LOSS = "lenet_numpy.train.softmax_cross_entropy"
DLOGITS = "lenet_numpy.train.softmax_cross_entropy_backward"
RELU = "lenet_numpy.model.relu_backward"


def names(observed: Observed) -> list[list[str]]:
    """The names of each explanation of the first wrong place."""
    found = diagnose(PROBES, observed).findings
    return [[one.name for one in some] for f in found for some in (f.causes, *f.alternatives)]


def log_softmax(z: Array) -> Array:
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def another_loss(make: Callable[[Array, Array], tuple[Array, Array]]) -> list[list[str]]:
    """The names if loss and cotangent of the logits are those of make(logits, labels)."""
    observed = seen_patched(
        PROBES,
        (LOSS, lambda right: lambda z, k: (make(z, k)[0].astype(z.dtype), make(z, k)[1].astype(z.dtype))),
        (DLOGITS, lambda right: lambda cache: cache),
    )
    return names(observed)


def smoothed(share: float) -> Any:
    def loss(z: Array, k: Array) -> tuple[Array, Array]:
        target = (1 - share) * np.eye(10)[k] + share / 10
        log_p = log_softmax(z.astype(np.float64))
        return -(target * log_p).sum(axis=1).mean(), (np.exp(log_p) - target) / len(k)

    return loss


def with_shares(shares: Callable[[Array], Array]) -> Any:
    def loss(z: Array, k: Array) -> tuple[Array, Array]:
        log_p, share = log_softmax(z.astype(np.float64)), shares(k)
        losses = -log_p[np.arange(len(k)), k]
        return (share * losses).sum(), (np.exp(log_p) - np.eye(10)[k]) * share[:, None]

    return loss


def focal(power: float, scale: float) -> Any:
    def loss(z: Array, k: Array) -> tuple[Array, Array]:
        log_p = log_softmax(z.astype(np.float64))
        own = log_p[np.arange(len(k)), k]
        rest = -np.expm1(own)
        factor = rest**power - power * np.exp(own) * own * np.maximum(rest, 1e-18) ** (power - 1)
        d = (np.exp(log_p) - np.eye(10)[k]) * (scale * factor / len(k))[:, None]
        return -(scale * rest**power * own).mean(), d

    return loss


def cold(divisor: float) -> Any:
    def loss(z: Array, k: Array) -> tuple[Array, Array]:
        log_p = log_softmax(z.astype(np.float64) / divisor)
        d = (np.exp(log_p) - np.eye(10)[k]) / (len(k) * divisor)
        return -log_p[np.arange(len(k)), k].mean(), d

    return loss


def by_class(averaged: bool, **weights: float) -> Any:
    own = np.ones(10)
    for name, weight in weights.items():
        own[int(name[1:])] = weight
    return with_shares(lambda k: own[k] / (own[k].sum() if averaged else len(k)))


LOSSES = [
    ("label smoothing", smoothed(0.1)),
    ("class weights in the loss", by_class(False, c1=0.5, c4=2.0)),
    ("label 1 ignored in the loss", by_class(True, c1=0.0)),
    ("focal loss", focal(1.5, 0.25)),
    ("temperature in the softmax", cold(4.0)),
]


@pytest.mark.parametrize(("name", "make"), LOSSES, ids=[f"{k}-{row[0]}" for k, row in enumerate(LOSSES)])
def test_another_loss_is_named_with_its_number(name, make):
    assert another_loss(make) == [[name]]


def test_the_logarithm_of_zero_is_not_a_softmax_without_its_shift():
    def of_zero(right: Callable) -> Callable:
        def loss(z: Array, k: Array) -> tuple[Array, Any]:
            _, cache = right(z, k)
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p = p / p.sum(axis=1, keepdims=True)
            with np.errstate(divide="ignore"):
                return -np.log(p[np.arange(len(k)), k]).mean(), cache

        return loss

    assert names(seen_patched(PROBES, (LOSS, of_zero))) == [["logarithm of a softmax that is zero"]]


def changed(change: Callable[[Arrays, Arrays], Arrays], dtype: str = "float32") -> list[list[str]]:
    """The names if the gradients (and "loss") are changed, given the parameters."""
    port, observed = open_port("numpy", dtype), Observed(dtype)
    for probe in PROBES.backward:
        port.load({name: w.astype(dtype) for name, w in probe.params.items()})
        loss, found = port.gradients(probe.images.astype(dtype), probe.labels)
        given = {**found, "loss": np.asarray(loss)}
        result = {**given, **change(given, probe.params)}
        observed.gradients[probe.name] = float(result.pop("loss")), result
    return names(observed)


def all_times(factor: float) -> Callable[[Arrays, Arrays], Arrays]:
    return lambda g, w: {n: a * np.float32(factor) for n, a in g.items() if n != "loss"}


def clipped(limit: float) -> Callable[[Arrays, Arrays], Arrays]:
    def clip(g: Arrays, w: Arrays) -> Arrays:
        own = {n: a for n, a in g.items() if n != "loss"}
        size = np.sqrt(sum(float((a.astype(np.float64) ** 2).sum()) for a in own.values()))
        return {n: a * np.float32(min(1, limit / size)) for n, a in own.items()}

    return clip


def penalty(factor: float, only: str = "") -> Callable[[Arrays, Arrays], Arrays]:
    def add(g: Arrays, w: Arrays) -> Arrays:
        on = [n for n in w if n.endswith(only)]
        result = {n: g[n] + g[n].dtype.type(factor) * w[n] for n in on}
        result["loss"] = g["loss"] + factor / 2 * sum(float((w[n].astype(float) ** 2).sum()) for n in on)
        return result

    return add


def one_map(g: Arrays, w: Arrays) -> Arrays:
    kept = np.zeros_like(g["conv2.weight"])
    kept[:1] = g["conv2.weight"][:1]
    return {"conv2.weight": kept}


def quotients(g: Arrays, w: Arrays) -> Arrays:
    """What central differences of a float64 loss give: whole numbers of its roundings; of a loss of 0, 0."""
    unit = np.spacing(g["loss"])
    if not g["loss"]:
        return {n: np.zeros_like(g[n]) for n in ("logits.bias", "fc2.bias")}
    return {n: np.rint(g[n] * 2e-5 / unit + 0.3) * unit / 2e-5 for n in ("logits.bias", "fc2.bias")}


def every(change: Callable[[Array], Array]) -> Callable[[Arrays, Arrays], Arrays]:
    return lambda g, w: {n: change(a) for n, a in g.items() if n != "loss"}


GRADIENTS = [
    ("gradients multiplied by 1024: the loss scale left in", all_times(1024), "float32"),
    ("gradients clipped to a norm of 5", clipped(5.0), "float32"),
    ("L2 penalty in the loss", penalty(5e-3, "weight"), "float64"),
    ("gradient of the first map alone", one_map, "float32"),
    ("difference quotients for gradients", quotients, "float64"),
    ("gradients rounded to float16", every(lambda a: a.astype(np.float16).astype(a.dtype)), "float32"),
]


@pytest.mark.parametrize(("name", "change", "dtype"), GRADIENTS, ids=[row[0] for row in GRADIENTS])
def test_a_changed_gradient_is_named_with_its_number(name, change, dtype):
    assert changed(change, dtype) == [[name]]


GATES = [
    ("ReLU's gate half open at zero", lambda dy, x: dy * np.where(x > 0, 1, np.where(x == 0, 0.5, 0))),
    ("leaky ReLU's gradient, slope 0.3", lambda dy, x: dy * np.where(x > 0, 1, 0.3)),
    ("tanh's derivative in ReLU's place", lambda dy, x: dy * (1 - np.tanh(x) ** 2)),
]


@pytest.mark.parametrize(("name", "gate"), GATES, ids=[row[0] for row in GATES])
def test_another_gate_in_the_backward_pass_is_named(name, gate):
    def make(right: Callable) -> Callable:
        return lambda dy, cache: gate(dy, cache).astype(dy.dtype)

    with_inputs = (
        "lenet_numpy.model.relu",
        lambda right: lambda x: (right(x)[0], x),
    )
    assert names(seen_patched(PROBES, with_inputs, (RELU, make))) == [[name]]


def test_a_limit_is_read_although_one_gradient_is_nothing_but_rounding():
    """On some processors a small gradient that was not clipped comes out shorter than it should."""
    rng = np.random.default_rng(0)
    right = {f"w{k}": rng.standard_normal(50) for k in range(20)}
    seen = {key: g * (0.5 / np.linalg.norm(g)) for key, g in right.items()}
    passed = [(key, Bounded(g), Bounded(g)) for key, g in right.items()]
    sample = SimpleNamespace(tape=None, right=passed, seen=seen)
    seen["w7"] = right["w7"] * 0.9
    assert own_norm_of([sample]) == pytest.approx(0.5, rel=1e-12)
    for k in range(4):
        seen[f"w{k}"] = right[f"w{k}"] * 0.9
    assert own_norm_of([sample]) is None
