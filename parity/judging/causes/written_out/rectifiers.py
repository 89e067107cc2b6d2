"""Mistakes in writing out ReLU, and functions that are applied in its place."""

from collections.abc import Iterator

from parity.judging.causes.mistake import Changed, Mistake, Seen, first, made_in
from parity.judging.causes.written_out.biases import factor
from parity.operators import Operator
from parity.operators import functions as known
from parity.operators.activation import (
    Clip,
    Relu,
)

PAPER = "ChawDoe/LeNet5-MNIST-PyTorch#9"
PLACE = "intel/ipex-llm#2411"
SINE = Changed(Relu(), after=lambda y, inputs: first(inputs).apply(known.SIN))
LECUN = Changed(  # of LeNet-5's paper, "Gradient-based learning applied to document recognition", appendix A
    Relu(), after=lambda y, inputs: (first(inputs) * (2 / 3)).apply(known.TANH) * 1.7159
)

OTHERS: dict[str, Operator] = {
    "sine": SINE,
    "1.7159 tanh(2x/3)": LECUN,
    "hard tanh": Clip(min=-1.0, max=1.0),
}
SELECTIONS: tuple[tuple[str, str, Operator], ...] = (
    ("ReLU cut off at 1", "Values above 1 are cut off.", Clip(min=0.0, max=1.0)),
    (
        "absolute value for ReLU",
        "Negative values are made positive; they must become zero.",
        Changed(Relu(), after=lambda y, inputs: abs(first(inputs))),
    ),
    (
        "ReLU of the negated input",
        "The sign is wrong: negative values pass.",
        Changed(Relu(), lambda inputs: [-first(inputs)]),
    ),
)


@made_in("Relu")
def functions(relu: Relu, seen: Seen) -> Iterator[Mistake]:
    if first(seen.inputs).comparable.dtype.kind != "f":
        return
    for name, other in OTHERS.items():
        yield Mistake(
            f"{name} for ReLU", f"Instead of ReLU, {name} is applied.", "Use max(x, 0).", other, PAPER
        )
    for name, explanation, other in SELECTIONS:
        yield Mistake(name, explanation, "Apply max(x, 0).", other, PLACE)


@made_in("Relu")
def dropout(relu: Relu, seen: Seen) -> Iterator[Mistake]:
    """A factor that is left from dropout at its usual rates."""
    for kept in (0.5, 0.75, 0.8, 0.9):
        yield factor(relu, f"scaled by {kept:g}", kept)
        yield factor(relu, f"scaled by 1 / {kept:g}", 1 / kept)
