"""Self-checks of notebook 11; their parts are in `workshop.checks.marking`."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from workshop.checks.marking import NotRight, NotYet, called, check, in_network, same, same_form
from workshop.tape import Var, add, gradients_by, matmul, matmul_pull

Answer = Callable[..., Any]
ours = importlib.import_module("workshop.solutions.11_autograd")


@check
def recorded(answer: Answer) -> str:
    """Check `apply` by one product, and in the network, whose gradients it then computes."""
    rng = np.random.default_rng(0)
    x, w, dy = (Var(rng.integers(-9, 10, shape).astype(np.float64)) for shape in ((2, 3), (4, 3), (2, 4)))
    y = called(answer, matmul, matmul_pull, x, w)
    if not isinstance(y, Var):
        raise NotRight(f"{answer.__name__} returned no Var but one {type(y).__name__}")
    same("y.value", y.value, x.value @ w.value.T)
    if tuple(map(id, y.inputs)) != (id(x), id(w)) or y.pull is None:
        raise NotRight("y does not remember its inputs, or has no pull: it is not on the tape")
    for name, found, right in zip(
        "xw", y.pull(dy.value), matmul_pull(dy.value, (x.value, w.value)), strict=True
    ):
        same(f"y.pull, cotangent of {name},", same_form(f"y.pull of {name}", found, right), right)
    return _in_network(answer, answer, ours.backward, ours.add_pull)


@check
def reverse(answer: Answer) -> str:
    """Check `backward` on values that are used twice, and in the network."""
    x = Var(np.array(3.0))
    square = Var(x.value * x.value, (x, x), lambda dy: (dy * x.value, dy * x.value))
    total = Var(square.value + x.value, (square, x), lambda dy: (dy, dy))
    _cotangent(called(answer, total), x, 7.0, "x·x + x at 3; x is used three times, and each use adds")
    # `double` gets a cotangent from each of two uses, before it may pass their sum on.
    double = Var(2 * x.value, (x,), lambda dy: (2 * dy,))
    triple = Var(3 * double.value, (double,), lambda dy: (3 * dy,))
    both = Var(double.value + triple.value, (double, triple), lambda dy: (dy, dy))
    _cotangent(
        called(answer, both), x, 8.0, "u + 3u for u = 2x: u is used twice, and passes on the sum, once"
    )
    return _in_network(answer, ours.apply, answer, ours.add_pull)


@check
def broadcast(answer: Answer) -> str:
    """Check the pull of an addition, for several shapes with whole numbers, and in the network."""
    rng = np.random.default_rng(0)
    for a, b in (((4, 3), (3,)), ((3,), (4, 3)), ((4, 3), (4, 3)), ((4, 3), (4, 1)), ((2, 4, 3), (1, 3))):
        dy = rng.integers(-9, 10, add(np.zeros(a), np.zeros(b))[0].shape).astype(np.float64)
        right = ours.add_pull(dy, (a, b))
        found = same_form(answer.__name__, called(answer, dy.copy(), (a, b)), right)
        for one, other in zip(found, right, strict=True):
            if not np.array_equal(one, other):
                raise NotRight(
                    f"for shapes {a} + {b} a cotangent of shape {other.shape} differs: {one} is not {other}"
                )
    return _in_network(answer, ours.apply, ours.backward, answer)


def _cotangent(found: Any, x: Var, right: float, why: str) -> None:
    if not isinstance(found, dict) or x not in found:
        raise NotRight(
            "there is no cotangent for x: return a dict {Var: cotangent} of all values on the tape"
        )
    if float(found[x]) != right:
        raise NotRight(f"the derivative is {float(found[x]):g}, expected {right:g}: {why}")


def _in_network(answer: Answer, apply: Answer, backward: Answer, add_pull: Answer) -> str:
    """Put the tape into the NumPy port, and judge its gradients and training as `lenet check` does."""
    gradients = gradients_by(apply, backward, add_pull)
    return in_network(answer, {"lenet_numpy.train.gradients": lambda answer, right, *args: gradients(*args)})


def engine(apply: Answer, backward: Answer, add_pull: Answer) -> tuple[Answer, Answer, Answer]:
    """The participant's functions; as long as one of them is a stub, the solution's, and it says so."""
    one = Var(np.ones(1))
    try:
        called(apply, add, ours.add_pull, one, one)
        called(backward, one)
        called(add_pull, np.ones(1), ((1,), (1,)))
    except NotYet as reason:
        print(f"until your tape is complete, the solution's is used below ({reason})")
        return ours.apply, ours.backward, ours.add_pull
    print("your tape is used below")
    return apply, backward, add_pull
