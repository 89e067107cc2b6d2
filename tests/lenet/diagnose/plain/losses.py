"""Losses with a number in them, and their derivatives, in plain NumPy."""

from collections.abc import Callable

import numpy as np

from tests.lenet.diagnose.plain.backward import Loss, cross_entropy, hot, probabilities
from tests.lenet.diagnose.plain.network import Array


def log_p(z: Array) -> Array:
    return np.log(probabilities(z))


def of(z: Array, k: Array) -> Array:
    return z[np.arange(len(k)), k]


def smoothed(share: float) -> Loss:
    def loss(z: Array, k: Array) -> tuple[float, Array]:
        target = (1 - share) * hot(k) + share / 10
        return -(target * log_p(z)).sum(1).mean(), (probabilities(z) - target) / len(k)

    return loss


def tempered(divisor: float) -> Loss:
    def loss(z: Array, k: Array) -> tuple[float, Array]:
        value, d = cross_entropy(z / divisor, k)
        return value, d / divisor

    return loss


def weighted(factors: Callable[[Array], Array]) -> Loss:
    def loss(z: Array, k: Array) -> tuple[float, Array]:
        factor = factors(k)
        return -(factor * of(log_p(z), k)).sum(), (probabilities(z) - hot(k)) * factor[:, None]

    return loss


def kept(which: slice, averaged: bool) -> Loss:
    def factors(k: Array) -> Array:
        own = np.zeros(len(k))
        own[which] = 1
        return own / (own.sum() if averaged else len(k))

    return weighted(factors)


def focal(power: float, scale: float) -> Loss:
    def loss(z: Array, k: Array) -> tuple[float, Array]:
        p = of(probabilities(z), k)
        slope = scale * ((1 - p) ** power / p - power * np.log(p) * (1 - p) ** (power - 1))  # −dL/dp
        return -(scale * (1 - p) ** power * np.log(p)).mean(), (probabilities(z) - hot(k)) * (slope * p)[
            :, None
        ] / len(k)

    return loss
