"""Sums of products: γ_{n+1} (|W||x| + |b|) and what n products lose below the normal numbers."""

from itertools import product
from math import prod
from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.arithmetic.stated import Stated, dot, total
from tests.parity.statements.arrays import Statement, each, padding, pairs, use, zero_like

Terms = dict[tuple[int, ...], tuple[list[Stated], list[Stated]]]


def conv(op: Any, x: Array, w: Array, b: Any = None) -> Array:
    """Each sum has as many products as the kernel has weights, those with the padding among them."""
    d = x.ndim - 2
    strides, dilations = pairs(op.strides, d, 1), pairs(op.dilations, d, 1)
    spans = [(w.shape[2 + k] - 1) * dilations[k] + 1 for k in range(d)]
    pads = padding(op, x.shape[2:], spans, strides)
    sizes = [(x.shape[2 + k] + pads[k] + pads[k + d] - spans[k]) // strides[k] + 1 for k in range(d)]
    y = np.empty((x.shape[0], w.shape[0], *sizes), object)
    for image, unit, *place in np.ndindex(y.shape):
        first = unit // (w.shape[0] // op.group) * w.shape[1]
        seen, weights = [], []
        for channel, *tap in np.ndindex(w.shape[1:]):
            at = [place[k] * strides[k] + tap[k] * dilations[k] - pads[k] for k in range(d)]
            if all(0 <= at[k] < x.shape[2 + k] for k in range(d)):
                seen.append(x[(image, first + channel, *at)])
                weights.append(w[(unit, channel, *tap)])
        y[(image, unit, *place)] = dot(seen, weights, None if b is None else b[unit], prod(w.shape[1:]))
    return y


def conv_transpose(op: Any, x: Array, w: Array, b: Array | None = None) -> Array:
    """Each input value is spread over the output; no sum has more products than the fullest place."""
    d, inside, outside = x.ndim - 2, x.shape[1] // op.group, w.shape[1]
    strides, dilations = pairs(op.strides, d, 1), pairs(op.dilations, d, 1)
    pads, extra = pairs(op.pads, 2 * d, 0), pairs(op.output_padding, d, 0)
    full = [
        (x.shape[2 + k] - 1) * strides[k] + (w.shape[2 + k] - 1) * dilations[k] + 1 + extra[k]
        for k in range(d)
    ]
    sizes = [full[k] - pads[k] - pads[k + d] for k in range(d)]
    if op.output_shape or op.auto_pad.startswith("SAME"):
        sizes = list(op.output_shape or (x.shape[2 + k] * strides[k] for k in range(d)))
        cut = [full[k] - sizes[k] for k in range(d)]
        pads = tuple(one // 2 if op.auto_pad == "SAME_UPPER" else one - one // 2 for one in cut)
    y = np.empty((x.shape[0], outside * op.group, *sizes), object)
    terms: Terms = {index: ([], []) for index in np.ndindex(y.shape)}
    for image, channel, *place in np.ndindex(x.shape):
        for unit, *tap in np.ndindex(w.shape[1:]):
            at = [place[k] * strides[k] + tap[k] * dilations[k] - pads[k] for k in range(d)]
            if all(0 <= at[k] < sizes[k] for k in range(d)):
                seen, weights = terms[(image, channel // inside * outside + unit, *at)]
                seen.append(x[(image, channel, *place)])
                weights.append(w[(channel, unit, *tap)])
    fullest = inside * prod(
        max(
            sum((place - tap * dilations[k]) % strides[k] == 0 for tap in range(w.shape[2 + k]))
            for place in range(strides[k])
        )
        for k in range(d)
    )
    for index, (seen, weights) in terms.items():
        bias = None if b is None else b[index[1]]
        y[index] = dot(seen, weights, bias, fullest) if seen or bias else zero_like(x)
    return y


def matmul(op: Any, a: Array, b: Array) -> Array:
    rows = a[None] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b
    lead = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    rows = np.broadcast_to(rows, lead + rows.shape[-2:])
    columns = np.broadcast_to(columns, lead + columns.shape[-2:])
    y = np.empty((*lead, rows.shape[-2], columns.shape[-1]), object)
    for *image, i, j in np.ndindex(y.shape):
        y[(*image, i, j)] = dot(list(rows[(*image, i)]), list(columns[(*image, slice(None), j)]))
    y = y[..., 0, :] if a.ndim == 1 else y
    return y[..., 0] if b.ndim == 1 else y


def gemm(op: Any, a: Array, b: Array, c: Any = None) -> Array:
    """With alpha and beta, a product and a sum more; else the bias is one more term."""
    a, b = a.T if op.transA else a, b.T if op.transB else b
    y = np.empty((a.shape[0], b.shape[1]), object)
    bias: Any = None if c is None else np.broadcast_to(c, y.shape)
    plain = op.alpha == op.beta == 1
    for i, j in np.ndindex(y.shape):
        y[i, j] = dot(list(a[i]), list(b[:, j]), bias[i, j] if plain and bias is not None else None)
    if plain:
        return y
    y = each(lambda one: one * op.alpha, y)
    return y if bias is None else each(lambda one, other: one + other * op.beta, y, bias)


def einsum(op: Any, a: Array, b: Array) -> Array:
    """What one operand alone sums over is summed first; then a sum of products."""
    left, right, out = _labels(op.equation.replace(" ", ""), a.ndim, b.ndim)
    a, left = _alone(a, left, right + out)
    b, right = _alone(b, right, left + out)
    sizes: dict[str, int] = {}
    for label, size in zip(left + right, a.shape + b.shape, strict=True):
        sizes[label] = max(size, sizes.get(label, 1))
    summed = [label for label in left if label in right and label not in out]
    y = np.empty([sizes[label] for label in out], object)
    for index in np.ndindex(y.shape):
        at = dict(zip(out, index, strict=True))
        places = [
            {**at, **dict(zip(summed, more, strict=True))}
            for more in product(*(range(sizes[label]) for label in summed))
        ]
        first, second = (
            [
                x[tuple(min(place[one], n - 1) for one, n in zip(labels, x.shape, strict=True))]
                for place in places
            ]
            for x, labels in ((a, left), (b, right))
        )
        y[index] = dot(first, second)
    return y


def _labels(equation: str, *ndims: int) -> tuple[str, str, str]:
    """Of both operands and of the result. The axes of an ellipsis are labelled by digits, from the last on;
    a result that is not given has them, and then the letters that occur once, by the alphabet."""
    inputs, arrow, out = equation.partition("->")
    if not arrow:
        letters = [one for one in sorted(inputs) if one.isalpha() and inputs.count(one) == 1]
        out = "..." * ("..." in inputs) + "".join(letters)
    sides = inputs.split(",")
    widths = [ndim - len(side.replace("...", "")) for side, ndim in zip(sides, ndims, strict=True)]
    dots = [str(k) for k in reversed(range(max(widths)))]
    left, right = (
        side.replace("...", "".join(dots[len(dots) - width :]))
        for side, width in zip(sides, widths, strict=True)
    )
    return left, right, out.replace("...", "".join(dots))


def _alone(x: Array, labels: str, others: str) -> tuple[Array, str]:
    axes = tuple(k for k, label in enumerate(labels) if label not in others)
    if not axes:
        return x, labels
    kept = [k for k in range(x.ndim) if k not in axes]
    lines = x.transpose(*kept, *axes).reshape(*(x.shape[k] for k in kept), -1)
    found = np.empty(lines.shape[:-1], object)
    for index in np.ndindex(found.shape):
        found[index] = total(list(lines[index]))
    return found, "".join(labels[k] for k in kept)


STATEMENTS: dict[str, Statement] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MatMul": matmul,
    "Gemm": gemm,
    "Einsum": einsum,
}
SMALL = [
    use("Conv", (1, 2, 3, 3), (2, 2, 2, 2), (2,)),
    use("Conv", (1, 2, 4), (2, 1, 3), group=2, pads=(1, 1), strides=(2,)),
    use("Conv", (1, 1, 4, 3), (1, 1, 2, 2), (1,), dilations=(2, 1)),
    use("Conv", (1, 1, 5), (1, 1, 3), auto_pad="SAME_UPPER", strides=(2,), dilations=(2,)),
    use("Conv", (1, 1, 4), (1, 1, 2), auto_pad="SAME_LOWER"),
    use("Conv", (1, 1, 5), (1, 1, 2), auto_pad="VALID", strides=(3,)),
    use("ConvTranspose", (1, 2, 2, 2), (2, 1, 2, 2), (1,)),
    use("ConvTranspose", (1, 1, 3), (1, 1, 3), strides=(2,), output_padding=(1,)),
    use("ConvTranspose", (1, 1, 3), (1, 1, 3), strides=(2,), output_shape=(6,)),
    use("ConvTranspose", (1, 1, 3), (1, 1, 4), strides=(2,), auto_pad="SAME_UPPER"),
    use("ConvTranspose", (1, 2, 3), (2, 2, 3), (4,), group=2, strides=(2,), pads=(1, 0)),
    use("ConvTranspose", (1, 1, 3), (1, 2, 3), strides=(2,), dilations=(2,)),
    use("MatMul", (2, 5), (5, 2)),
    use("MatMul", (2, 1, 8), (8,)),
    use("MatMul", (1,), (1, 2)),
    use("Gemm", (2, 4), (4, 2), (2,)),
    use("Gemm", (3, 2), (2, 3), transA=1, transB=1),
    use("Gemm", (2, 3), (3, 2), (2, 1), alpha=0.75, beta=-0.3),
    use("Einsum", (2, 3), (3, 2), equation="ij,jk->ik"),
    use("Einsum", (2, 2, 3), (2, 2), equation="bij,bk->bik"),
    use("Einsum", (2, 3, 2), (2, 2), equation="bij,bj->b"),
    use("Einsum", (2, 1, 2, 3), (2, 3, 2), equation="...ij,...jk"),
    use("Einsum", (2, 3), (2, 3, 2), equation="i...,b...i->...b"),
    use("Einsum", (3,), (2,), equation="i,j"),
]
