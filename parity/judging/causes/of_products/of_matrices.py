"""Mistakes of matrix products: transposed, reshaped, exchanged factors."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Changed, Mistake, Seen, first, made_in, second, with_input
from parity.operators import Operator
from parity.operators.affine import Gemm, MatMul
from parity.operators.einsum import Einsum


def _weights(operator: Operator, change: Callable[[Array], Array]) -> Changed:
    return with_input(operator, 1, lambda w: w.move(change))


@made_in("Gemm", "MatMul")
def products(operator: Gemm | MatMul, seen: Seen) -> Iterator[Mistake]:
    a, b = first(seen.inputs), second(seen.inputs)
    if b.ndim >= 2 and b.shape[-1] == b.shape[-2]:
        yield Mistake(
            "weights transposed",
            "The matrix is used in place of its transpose: PyTorch's Linear holds (out, in), Keras' Dense "
            "(in, out).",
            "Transpose the weights.",
            _weights(operator, lambda m: m.swapaxes(-1, -2)),
            "vllm-project/vllm#44113",
        )
    if a.ndim >= 2 and a.shape[-1] == a.shape[-2]:
        yield Mistake(
            "first factor transposed",
            "The transpose of the first matrix is multiplied.",
            "Remove the transpose.",
            with_input(operator, 0, lambda one: one.move(lambda m: m.swapaxes(-1, -2))),
        )
    if b.ndim == 2 and b.shape[0] != b.shape[1]:
        yield Mistake(
            "weights reshaped to the transposed shape, not transposed",
            "The numbers are those of the matrix, read in the shape of its transpose.",
            "Use transpose, not reshape.",
            _weights(operator, lambda m: m.reshape(m.shape[::-1]).T),
        )
        yield Mistake(
            "weights reshaped, not transposed",
            "The numbers are those of the transpose, read in the shape of the matrix.",
            "Use transpose, not reshape.",
            _weights(operator, lambda m: m.T.reshape(m.shape)),
        )
    if isinstance(operator, MatMul) and a.ndim >= 2 and b.ndim >= 2:
        yield Mistake(
            "factors exchanged",
            "The second matrix is multiplied by the first.",
            "Exchange them: A·B is not B·A.",
            Changed(operator, lambda inputs: inputs[::-1]),
        )
        yield Mistake(
            "result transposed",
            "The product is that of the transposes, in the opposite order.",
            "Transpose the result.",
            Changed(operator, after=lambda y, inputs: y.move(lambda m: m.swapaxes(-1, -2))),
        )


@made_in("Gemm")
def factors(gemm: Gemm, seen: Seen) -> Iterator[Mistake]:
    options = {
        "alpha and beta ignored": replace(gemm, alpha=1.0, beta=1.0),
        "alpha ignored": replace(gemm, alpha=1.0),
        "beta ignored": replace(gemm, beta=1.0),
    }
    tried = [gemm]
    for name, other in options.items():
        if other in tried:
            continue
        tried.append(other)
        yield Mistake(
            name,
            "The factors of the product and of the bias are left out.",
            "Multiply by them.",
            other,
        )


@made_in("Einsum")
def axes(einsum: Einsum, seen: Seen) -> Iterator[Mistake]:
    for place, x in enumerate(seen.inputs):
        assert x is not None
        for one, other in combinations(range(x.ndim), 2):
            if x.shape[one] == x.shape[other] > 1:
                yield Mistake(
                    f"axes {one} and {other} of input {place} exchanged",
                    "Two letters of the equation are exchanged.",
                    f"Use the equation {einsum.equation}.",
                    with_input(einsum, place, _swapped(one, other)),
                )


def _swapped(one: int, other: int) -> Callable[[Number], Number]:
    return lambda x: x.move(lambda a: a.swapaxes(one, other))
