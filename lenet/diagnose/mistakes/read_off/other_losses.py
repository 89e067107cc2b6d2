"""Losses with a number in them: smoothing, focal, temperature, weights of classes or digits, a penalty.

Each is a change of the stage "loss" (a penalty also changes the gradients of the parameters), with the bound
of its own evaluation; see `lenet.diagnose.mistakes.loss`.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.loss import log_softmax, mean, one_hot, picked, probabilities
from lenet.diagnose.mistakes.wrong_backward import BackCall, Loss, LossCall, right_loss
from lenet.diagnose.mistakes.wrong_forward import Changes, after, instead
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import gamma

LOSS = "loss"


def smoothed(share: float) -> Changes:
    """Labels that give `share` of their weight to all classes alike."""

    def loss(call: LossCall) -> Loss:
        log_p, error = log_softmax(call)
        target, n = (1 - share) * one_hot(call.labels) + share / 10, len(call.labels)
        losses, sizes = -(target * log_p).sum(axis=1), (target * np.abs(log_p)).sum(axis=1)
        p = probabilities(call)
        d = Bounded((p.value - target) / n, (p.bound + 8 * call.u * (p.value + target)) / n)
        return Loss(mean(losses, error.max(axis=1) + 32 * call.u * sizes, call.u), d)

    return {LOSS: instead(loss)}


def weighted(factors: Callable[[LossCall], Array]) -> Changes:
    """The sum of the digits' losses, each times its factor (N,); the factors of the mean are 1/N."""

    def loss(call: LossCall) -> Loss:
        log_p, error = log_softmax(call)
        factor, n = factors(call), len(call.labels)
        losses, errors = -picked(log_p, call.labels), picked(error, call.labels)
        right, scale = right_loss(call).d, (n * factor)[:, None]
        size = np.abs(scale) * (np.abs(right.value) + right.bound)
        return Loss(
            mean(n * factor * losses, n * np.abs(factor) * errors, call.u),
            Bounded(right.value * scale, np.abs(scale) * right.bound + 2 * (n + 8) * call.u * size),
        )

    return {LOSS: instead(loss)}


def focal(power: float, scale: float = 1.0) -> Changes:
    """−scale · (1 − p)^power · log p."""

    def loss(call: LossCall) -> Loss:
        log_p, error = (picked(a, call.labels) for a in log_softmax(call))
        p, off = np.exp(log_p), np.expm1(error) + 16 * call.u
        low, high = np.maximum(p * (1 - off), 0), np.minimum(p * (1 + off), 1)
        steep, flat = zip(*(_focal(x, power) for x in (p, low, high)), strict=True)
        errors = _spread(flat) * np.abs(log_p) + flat[0] * error + 32 * call.u * flat[0] * np.abs(log_p)
        right = right_loss(call).d
        factor = scale * steep[0][:, None]
        spread = scale * (_spread(steep) + 64 * call.u * (np.abs(steep[0]) + flat[0]))[:, None]
        size = np.abs(right.value) + right.bound
        return Loss(
            mean(-scale * flat[0] * log_p, scale * errors, call.u),
            Bounded(right.value * factor, right.bound * np.abs(factor) + size * spread),
        )

    return {LOSS: instead(loss)}


def _focal(p: Array, power: float) -> tuple[Array, Array]:
    """The factor of the cotangent and that of the loss, for a probability p of the label."""
    rest = np.maximum(1 - p, 2.0**-60)
    log_p = np.log(np.maximum(p, 1e-300))
    return rest**power - power * p * log_p * rest ** (power - 1), rest**power


def _spread(values: tuple[Array, ...]) -> Array:
    return np.maximum(np.abs(values[1] - values[0]), np.abs(values[2] - values[0]))


def tempered(divisor: float) -> Changes:
    """The loss of logits divided by a number."""

    def loss(call: LossCall) -> Loss:
        z = call.logits
        size = np.abs(z.value) / divisor
        cold = Bounded(z.value / divisor, z.bound / divisor + 2 * call.u * size)
        again = right_loss(replace(call, logits=cold))
        d = again.d
        return Loss(
            again.value,
            Bounded(d.value / divisor, d.bound / divisor + 2 * call.u * np.abs(d.value) / divisor),
        )

    return {LOSS: instead(loss)}


def penalised(
    on: tuple[str, ...], in_gradient: float, in_loss: float, form: Callable[[Array], Array], power: int
) -> Changes:
    """`in_loss` · Σ|w|^power added to the loss, `in_gradient` · form(w) to the gradients of these
    parameters."""

    def loss(right: Loss, call: LossCall) -> Loss:
        parts = [np.abs(call.params[name]) ** power for name in on]
        size = abs(in_loss) * sum(float(part.sum()) for part in parts)
        count = sum(part.size for part in parts)
        total = right.value.value + np.sign(in_loss) * size
        return Loss(
            Bounded(total, right.value.bound + gamma(count + 8, call.u) * (size + abs(total))), right.d
        )

    def gradient(g: Bounded, call: BackCall, name: str) -> Bounded:
        extra = in_gradient * form(call.params[name])
        value = g.value + extra
        return Bounded(value, g.bound + 4 * call.u * (np.abs(value) + np.abs(extra)))

    stages: dict[str, Callable] = {LOSS: after(loss)} if in_loss else {}
    if in_gradient:
        for name in on:
            stages[name] = after(lambda g, call, name=name: gradient(g, call, name))
    return stages
