"""The verdicts on each tensor of a candidate, and on all of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# From the best to the worst; "unjudged" has no place in this order.
ORDER = ("equal", "rounding", "undecided", "coarse", "different")
WRONG = ("coarse", "different")
# The histogram of error over worst case has a bin for each power of two up to 2^±LARGEST_POWER.
LARGEST_POWER = 40
BINS = ("0", *(f"2^{k}" for k in range(-LARGEST_POWER, LARGEST_POWER + 1)))  # their names in the JSON


@dataclass(frozen=True)
class Worst:
    """The value with the largest error over its bound, or in a coarse tensor with the largest error."""

    index: tuple[int, ...]
    found: float
    expected: float

    def __str__(self) -> str:
        index = ", ".join(map(str, self.index))
        return f"At [{index}] it is {self.found:.9g}, expected {self.expected:.9g}."

    def to_json(self) -> dict[str, Any]:
        """As part of the commands' --json."""
        return {
            "index": list(self.index),
            "found": finite(self.found),
            "expected": finite(self.expected),
        }


@dataclass(frozen=True)
class Cause:
    """A known mistake that explains every value of a wrong tensor.

    Attributes:
        tensor: the wrong tensor.
        node: the node in which the mistake is made.
        name, explanation, remedy: what was done instead, where it comes from, and what to do.
        case: where it was reported, as "owner/repository#number"; "" if no report is known.
        apart: the inputs that would tell it from the first cause, which explains the same values; "" for the
            first, or if there was no time to see. A cause that no random inputs tell from it is left out.
    """

    tensor: str
    node: str
    name: str
    explanation: str
    remedy: str
    case: str = ""
    apart: str = ""


@dataclass(frozen=True)
class TensorReport:
    """The verdict on one recorded tensor, judged from the candidate's own values before it.

    Attributes:
        tensor, node, op: their names in the graph.
        sources: the recorded tensors, including inputs of the graph, from which it was judged.
        verdict: one of `ORDER`, or "unjudged".
        ratio: largest error over worst case; 0 without an error, infinite for an error where none is allowed;
            NaN for a known formula that rounds more than the operator.
        loop_ratio: RMS error over that of the plain loop; NaN if there is no such loop.
        loop_limit: the largest such ratio of a right implementation; NaN if there is no such loop.
        values, equal: the number of judged values, and of those equal to the correctly rounded reference.
        max_abs_error: largest |candidate − reference|.
        worst: the worst value; None if nothing was compared.
        histogram: the number of values by error over worst case. First those without an error, then those in
            (2^(k-1), 2^k] for k from -LARGEST_POWER to LARGEST_POWER, the last with all above; () if nothing
            was compared. An error below the first bin counts as none. Of a large tensor without a value
            outside the worst case, some thousand values are counted, evenly spaced.
        blind_below: the smallest relative change of the weights that this tensor would have shown.
        strange: how many of the values on which the plain loop was run could be anything, as far as rounding
            goes, and are neither what exact arithmetic returns nor what the plain loop does.
        proven: whether the worst case is smaller than the values; otherwise it proves nothing.
        note: a line with the reason for "unjudged", the form that fits, or an overflow.
        misshapen: whether its shape is wrong, so that no value was compared.
        causes: the known mistakes that explain a wrong tensor; several if its values do not tell them apart.
        clues: lines on where a tensor is wrong that no known mistake explains.
    """

    tensor: str
    node: str
    op: str
    sources: tuple[str, ...] = ()
    verdict: str = "unjudged"
    ratio: float = 0.0
    loop_ratio: float = float("nan")
    loop_limit: float = float("nan")
    values: int = 0
    equal: int = 0
    max_abs_error: float = 0.0
    worst: Worst | None = None
    histogram: tuple[int, ...] = ()
    blind_below: float = float("nan")
    strange: int = 0
    proven: bool = True
    note: str = ""
    misshapen: bool = False
    causes: tuple[Cause, ...] = ()
    clues: tuple[str, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether it is different or coarse."""
        return self.verdict in WRONG

    def to_json(self) -> dict[str, Any]:
        """The form of `parity judge --json`."""
        return {
            "tensor": self.tensor,
            "node": self.node,
            "op": self.op,
            "from": list(self.sources),
            "verdict": self.verdict,
            "ratio": finite(self.ratio),
            "loop_ratio": finite(self.loop_ratio),
            "loop_limit": finite(self.loop_limit),
            "values": self.values,
            "equal": self.equal,
            "max_abs_error": finite(self.max_abs_error),
            "worst": self.worst and self.worst.to_json(),
            "histogram": {name: n for name, n in zip(BINS, self.histogram, strict=False) if n},
            "blind_below": finite(self.blind_below),
            "strange": self.strange,
            "proven": self.proven,
            "note": self.note,
            "causes": [asdict(one) for one in self.causes],
            "clues": list(self.clues),
        }


@dataclass(frozen=True)
class Report:
    """The verdict on a candidate.

    Attributes:
        tensors: the verdicts on all recorded tensors that nodes compute, in order of execution.
        unjudged: {operator: number of its nodes that could not be judged}.
        outputs: the names of the graph's results.
        sample: the largest number of values judged per tensor; None for all.
    """

    tensors: tuple[TensorReport, ...]
    unjudged: Mapping[str, int] = field(default_factory=Counter)
    outputs: tuple[str, ...] = ()
    sample: int | None = None

    @property
    def judged(self) -> int:
        """The number of judged tensors."""
        return sum(one.verdict != "unjudged" for one in self.tensors)

    @property
    def nothing(self) -> bool:
        """Whether there was nothing to judge: no tensor has values, and none has a wrong shape."""
        return not any(one.verdict != "unjudged" and (one.values or one.wrong) for one in self.tensors)

    @property
    def verdict(self) -> str:
        """The worst verdict of all; "undecided" if there was nothing to judge.

        An undecided tensor counts if it is an output or holds strange values: the others are what a right
        implementation returns.
        """
        if self.nothing:
            return "undecided"
        found = [one.verdict for one in self.tensors if one.verdict != "unjudged"]
        decided = [verdict for verdict in found if verdict != "undecided"]
        worst = max(decided, key=ORDER.index, default="undecided")
        counts = (one.verdict for one in self.tensors if one.strange or one.tensor in self.outputs)
        return max(worst, "undecided", key=ORDER.index) if "undecided" in counts else worst

    @property
    def same(self) -> bool:
        """Whether the candidate computes the reference's function, as far as it was judged."""
        return self.verdict in ("equal", "rounding")

    @property
    def first(self) -> TensorReport | None:
        """The first tensor, in order of execution, that is different or coarse."""
        return next((one for one in self.tensors if one.wrong), None)

    @property
    def missed_share(self) -> float:
        """The share of wrong values in a tensor that is found with 99.9 % certainty; 0 if all were judged."""
        return 0.0 if self.sample is None else 1 - 0.001 ** (1 / self.sample)

    def to_json(self) -> dict[str, Any]:
        """The form of `parity judge --json`."""
        return {
            "verdict": self.verdict,
            "first": self.first.tensor if self.first else None,
            "judged": self.judged,
            "unjudged": dict(self.unjudged),
            "sample": self.sample,
            "tensors": [one.to_json() for one in self.tensors],
            "causes": [asdict(cause) for one in self.tensors for cause in one.causes],
        }


def finite(x: float) -> float | None:
    """x, or None for NaN and infinity, which JSON does not have."""
    return float(x) if abs(x) < float("inf") else None
