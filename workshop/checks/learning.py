"""Self-checks of notebook 16."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch

from lenet.network.digits import test_set
from parity.arithmetic import Bounded
from parity.arithmetic.floats import U64, gamma
from workshop import stuck
from workshop.checks.marking import NotRight, called, check, same_form, within

Array = np.ndarray
Answer = Callable[..., Any]
A, S = 1.7159, 2 / 3


@check
def tanh_1998_backward(answer: Answer) -> str:
    """Check dy · A·S·(1 − (y/A)²), in float64.

    The reference and the answer each round A·S, two quotients, a square, a difference and two products: at
    most 8 roundings, of terms of the size |dy|·A·S, since |y| ≤ A.
    """
    rng = np.random.default_rng(0)
    z, dy = 2 * rng.standard_normal((2, 50))
    y = A * np.tanh(S * z)
    slope = S / A * (A - y) * (A + y)
    found = same_form(answer.__name__, called(answer, dy.copy(), y.copy()), dy)
    wrong = {
        "this is the pull of A tanh(z): S is missing": slope / S,
        "this is the pull of tanh(Sz): A is missing": S * (1 - y**2),
        "this is the pull of tanh(z), at y": 1 - y**2,
        "the argument is y, not z: do not apply tanh again": A * S * (1 - np.tanh(S * y) ** 2),
        "dy is missing": slope / dy,
    }
    bound = gamma(16, U64) * np.abs(dy) * A * S
    for why, other in wrong.items():
        if (np.abs(found - dy * other) <= 2 * bound).all():  # their terms are up to twice the size
            raise NotRight(why)
    largest = within("dz", found, Bounded(dy * slope, bound))
    return f"A·S·(1 − (y/A)²) times dy; the largest error is {largest:.1%} of the counted roundings"


REASON = {
    "in a list": "not registered",
    "detached": "no gradient",
    "frozen": "frozen",
    "replaced": "not in the optimizer",
    "closed": "zero gradient",
    "frozen and left out": "frozen",
    "beside the module": "not registered",
}


def _left_out() -> stuck.Patient:
    """fc1 is frozen, and the optimizer was made of the other layers."""
    patient = stuck.healthy()
    patient.layers["fc1"].requires_grad_(False)
    others = [p for p in patient.module.parameters() if p.requires_grad]
    patient.optimizer = torch.optim.SGD(others, lr=0.05)
    return patient


def _beside() -> stuck.Patient:
    """The forward pass runs a copy of fc2, which the module does not know: but it knows one of this name."""
    patient = stuck.healthy()
    layers = {**patient.layers, "fc2": deepcopy(patient.layers["fc2"])}
    patient.layers, patient.forward = layers, torch.nn.Sequential(*layers.values())
    return patient


def _odd_gradients() -> stuck.Patient:
    """Every parameter learns: one by a gradient whose sum is 0, one by a tiny one, from biases of 0."""
    patient = stuck.healthy()
    plus_minus = torch.tensor([1.0, -1.0, 2.0, -2.0, 0.0, 0.0])
    patient.parameters["conv1.bias"].register_hook(lambda g: plus_minus)
    patient.parameters["conv2.bias"].register_hook(lambda g: torch.full_like(g, 1e-12))
    return patient


CASES = {
    "healthy": stuck.healthy,
    "odd gradients": _odd_gradients,
    **stuck.PATIENTS,
    "frozen and left out": _left_out,
    "beside the module": _beside,
}


@check
def reasons(answer: Answer) -> str:
    """Check the reasons against the bits that a step kept, in networks that learn and in patients."""
    few = test_set()[:50]
    images, labels = torch.tensor(few.images), torch.tensor(few.labels)
    count = 0
    for kind, made in CASES.items():
        patient = made()
        before = {name: p.detach().clone() for name, p in patient.parameters.items()}
        stuck.step(patient, images, labels)
        kept = [name for name, p in patient.parameters.items() if torch.equal(p, before[name])]
        found = called(answer, patient.module, patient.optimizer, patient.parameters)
        if not isinstance(found, dict):
            raise NotRight(f"{answer.__name__} returned one {type(found).__name__}, expected a dict")
        for name in patient.parameters:
            if name in kept and name not in found:
                raise NotRight(f"{kind}: {name} kept every bit in the step, but is not among the answers")
            if name in found and name not in kept:
                raise NotRight(f"{kind}: {name} has changed in the step, and is said to be {found[name]!r}")
            if name in kept and found[name] != REASON[kind]:
                raise NotRight(f"{kind}: {name} is said to be {found[name]!r}, expected {REASON[kind]!r}")
        count += len(kept)
    return f"{count} stuck parameters of {len(REASON)} patients, each with its reason, and no others"
