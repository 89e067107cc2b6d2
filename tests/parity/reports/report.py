"""A public report of somebody who asks "rounding or a bug?", rebuilt small, and what `parity` says of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
from onnx import ModelProto

from parity import judge, read_onnx
from parity.judging.verdict import Report

Array = np.ndarray
Rebuilt = tuple[ModelProto, Mapping[str, Array]]  # the reference, and what the port returned


@dataclass(frozen=True)
class Case:
    """A report of REPORTS, rebuilt.

    Attributes:
        number: its place in the list.
        where: "owner/repository#number"; a second one after a comma.
        said: what was reported.
        small: how it is rebuilt, and what computes the port.
        needs: modules of the frameworks that compute the port.
        verdict: what `parity` has to say of all tensors.
        tensor: the first wrong one; None if all are right.
        cause: words of the cause's name, "|" between alternatives; where no cause is named, of the note on
            the tensor. "" where there is nothing to name.
        tolerance: the absolute and the relative tolerance that two right implementations break.
        mended: why today's software does not show what was reported; "" if it does.
        build: makes the reference and the port's tensors.
    """

    number: int
    where: str
    said: str
    small: str
    needs: tuple[str, ...]
    verdict: str
    tensor: str | None
    cause: str
    tolerance: tuple[float, float] | None
    mended: str
    build: Callable[[], Rebuilt]

    @property
    def missing(self) -> str:
        """The modules that are not installed."""
        return ", ".join(name for name in self.needs if find_spec(name) is None)

    @cache  # noqa: B019 - the cases live as long as the program
    def rebuilt(self) -> Rebuilt:
        """The reference and the port's tensors; the port is computed once."""
        return self.build()

    @cache  # noqa: B019
    def judged(self) -> Report:
        """What `parity` says."""
        model, values = self.rebuilt()
        return judge(read_onnx(model), values)

    @property
    def answered(self) -> bool:
        """Whether the report could be rebuilt, and `parity` says what is known of it."""
        report, first = self.judged(), self.judged().first
        if self.mended or report.verdict != self.verdict:
            return False
        if first is None:
            return self.tensor is None
        said = [cause.name for cause in first.causes] or [first.note]
        words = self.cause.split("|")
        return first.tensor == self.tensor and any(word in one for word in words for one in said)


CASES: dict[int, Case] = {}


def case(
    number: int,
    where: str,
    said: str,
    *,
    needs: tuple[str, ...],
    verdict: str = "different",
    tensor: str | None = None,
    cause: str = "",
    tolerance: tuple[float, float] | None = None,
    mended: str = "",
) -> Callable[[Callable[[], Rebuilt]], Callable[[], Rebuilt]]:
    """Enter a function that rebuilds a report. Its docstring says how."""

    def add(build: Callable[[], Rebuilt]) -> Callable[[], Rebuilt]:
        small = " ".join((build.__doc__ or "").split())
        CASES[number] = Case(
            number, where, said, small, needs, verdict, tensor, cause, tolerance, mended, build
        )
        return build

    return add


def channels_last(x: Array) -> Array:
    """N, C, H, W to N, H, W, C, as TensorFlow has it."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(y: object) -> Array:
    """N, H, W, C back to N, C, H, W."""
    return np.ascontiguousarray(np.asarray(y).transpose(0, 3, 1, 2))


def hwio(w: Array) -> Array:
    """A kernel's axes O, I, H, W to H, W, I, O."""
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0))
