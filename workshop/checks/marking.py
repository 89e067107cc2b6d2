"""The parts of self-checks. A check prints a line: right, not yet, or not right and why.

    checks.convolution(conv2d)

Each module beside this one has the checks of some notebooks. A check takes the participant's answer. It
prints "not yet: …" while the stub is untouched, prints "right: …" if the answer is right, and raises NotRight
with the first difference otherwise. The project's own judge decides: it compares bits if nothing rounds, and
uses derived bounds otherwise. An answer that replaces a function of the NumPy port is diagnosed
(`lenet.diagnose`).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

import numpy as np

from lenet import ports
from lenet.diagnose import diagnose, probe_inputs
from lenet.diagnose.findings import Finding
from lenet.network import weights
from lenet.network.digits import test_set
from lenet.reference.distance import ratio
from lenet.reference.exact import EXACT, coarsen
from parity.arithmetic import Bounded

Array = np.ndarray
Check = Callable[[Any], None]


class NotYet(Exception):
    """The exercise is still empty."""


class NotRight(AssertionError):
    """The answer is wrong; the text tells where, in one line."""

    def _render_traceback_(self) -> list[str]:
        """The text that Jupyter shows instead of a traceback through this module."""
        return [f"not right: {self}"]


def check(judge: Callable[[Any], str]) -> Check:
    """Make a check from a judge. The judge returns a description of a right answer, or raises."""

    @wraps(judge)
    def checked(answer: Any) -> None:
        try:
            filled_in(answer, "the answer is still empty: fill in the cell above")
            said = judge(answer)
        except NotYet as reason:
            print(f"not yet: {reason}")
        else:
            print(f"right: {said}")

    return checked


def filled_in(value: Any, why: str) -> Any:
    """`value`; raises NotYet if it is the value of a stub."""
    if value is None or value is ...:
        raise NotYet(why)
    return value


def called(function: Callable[..., Any], *args: Any) -> Any:
    """The result of the participant's function; raises NotYet if it is None."""
    return filled_in(function(*args), f"{function.__name__} returns nothing yet: fill in its body")


def same_form(what: str, value: Any, expected: Any) -> Any:
    """`value` as an array or a tuple of arrays. Refuses another number, shape or dtype than expected."""
    if isinstance(expected, tuple):
        if not isinstance(value, tuple | list) or len(value) != len(expected):
            raise NotRight(f"{what} returned {_kind(value)}, expected a tuple of {len(expected)}")
        numbered = enumerate(zip(value, expected, strict=True), 1)
        return tuple(same_form(f"{what}, value {k},", one, other) for k, (one, other) in numbered)
    array, wanted = np.asarray(value), np.asarray(expected)
    if array.shape != wanted.shape:
        raise NotRight(f"{what} has shape {array.shape}, expected {wanted.shape}")
    if array.dtype != wanted.dtype:
        raise NotRight(f"{what} is {array.dtype}, expected {wanted.dtype}")
    return array


def within(what: str, value: Any, expected: Bounded) -> float:
    """The largest ratio of error to bound. If it exceeds 1, NotRight names the worst value."""
    array = np.asarray(value)
    if array.shape != np.shape(expected.value):
        raise NotRight(f"{what} has shape {array.shape}, expected {np.shape(expected.value)}")
    over = np.asarray(ratio(np.atleast_1d(array.astype(np.float64)), _at_least_1d(expected)))
    if over.max(initial=0) <= 1:
        return float(over.max(initial=0))
    index = tuple(int(i) for i in np.unravel_index(over.argmax(), over.shape))
    bounded = _at_least_1d(expected)
    place = f"[{', '.join(map(str, index))}]" if array.ndim else ""
    found, wanted = _apart(np.atleast_1d(array)[index], bounded.value[index])
    raise NotRight(f"{what}{place} is {found}, expected {wanted} ± {bounded.bound[index]:.1e}")


def untouched(given: Any, was: Any) -> None:
    """Refuse an answer that changed its arguments: arrays, or dicts, lists or tuples of them."""
    if isinstance(was, dict):
        if given.keys() != was.keys():
            raise NotRight("the answer changes its arguments")
        given, was = list(given.values()), [was[name] for name in given]
    if isinstance(was, list | tuple):
        for one, other in zip(given, was, strict=True):
            untouched(one, other)
    elif not np.array_equal(given, was):
        raise NotRight("the answer changes its arguments")


def same(what: str, value: Any, expected: Array) -> None:
    """Require equality to the bit, for integers and for sums in which nothing rounds."""
    array = np.asarray(value)
    within(what, array, Bounded(expected.astype(np.float64), np.zeros(expected.shape)))


def in_network(answer: Callable[..., Any], adapters: dict[str, Callable[..., Any]]) -> str:
    """Put the answer into the NumPy port, and judge and diagnose the port as `lenet check` does.

    Args:
        answer: the participant's function.
        adapters: {replaced function ("lenet_numpy.model.conv2d"): replacement}; a replacement takes the
            answer, the right function and its arguments.
    """
    given = probe_inputs.standard()
    with planted(answer, adapters):
        try:
            observed = probe_inputs.observe_port(given, ports.open_port("numpy"))
        except probe_inputs.Raised as raised:
            raise raised.__cause__ or raised from None
    verdict = diagnose(given, observed)
    if not verdict.ok:
        raise NotRight(explained(verdict.findings[0]))
    layers = next(iter(observed.activations.values()))
    _, gradients = next(iter(observed.gradients.values()))
    return f"the network is the same with your {answer.__name__}, in {len(layers)} layers, " + (
        f"the loss, {len(gradients)} gradients and {len(observed.trajectory or ())} training steps"
    )


def exact_network() -> tuple[dict[str, Array], ports.Port, Array]:
    """Exact weights, the NumPy port with them, and 20 digits for which none of its sums rounds."""
    exact, network = weights.read(EXACT), ports.open_port("numpy")
    network.load(exact)
    return exact, network, coarsen(test_set()[:20].images)


@contextmanager
def planted(answer: Callable[..., Any], adapters: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Replace functions of the NumPy port by the answer, inside this context."""
    with ExitStack() as stack:
        for target, adapter in adapters.items():
            stack.enter_context(patch(target, _adapted(answer, adapter, resolve_name(target))))
        yield


def explained(finding: Finding) -> str:
    """A finding in one line: the place, the evidence, the mistake and its remedy."""
    if not finding.known:
        return f"{finding.where} differs, and no known mistake gives these values: {finding.evidence}"
    names = " and ".join(cause.name for cause in finding.causes)
    return f"{finding.where} differs: {names}. {finding.causes[0].explanation} {finding.causes[0].remedy}"


def _adapted(answer: Callable[..., Any], adapter: Callable[..., Any], right: Callable[..., Any]) -> Any:
    return lambda *args, **options: adapter(answer, right, *args, **options)


def _apart(found: Any, wanted: Any) -> tuple[str, str]:
    """Two numbers as text, with as many digits as it takes to see a difference."""
    texts = [(f"{found:.{digits}g}", f"{wanted:.{digits}g}") for digits in (6, 9, 12, 17)]
    return next((pair for pair in texts if pair[0] != pair[1]), texts[-1])


def _at_least_1d(expected: Bounded) -> Bounded:
    return Bounded(np.atleast_1d(expected.value), np.atleast_1d(expected.bound))


def _kind(value: Any) -> str:
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"one {type(value).__name__}"
