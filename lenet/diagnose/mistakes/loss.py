"""Mistakes in the formula of the loss: softmax, logarithm, clipping, or another loss.

Each entry returns the wrong loss and its cotangent, by hand or as automatic differentiation of the wrong
formula gives it. If log p has an absolute error δ, p is off by a factor exp(±δ).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, case
from lenet.diagnose.mistakes.wrong_backward import Loss, LossCall, right_loss
from lenet.diagnose.mistakes.wrong_forward import instead
from parity.arithmetic import Array, Bounded

FAMILY = Family()
LOSS = ("loss",)
UNDERFLOW = 2.0**20  # values in a gradient that may underflow; see `lenet.reference.backward.cross_entropy`
ROUNDINGS = 64  # softmax and logarithm; see `lenet.reference.backward.SOFTMAX_ROUNDINGS`


# --- softmax -----------------------------------------------------------------------------------


def log_softmax(call: LossCall) -> tuple[Array, Array]:
    """log p (N, 10) and its absolute error: 2e for an error e of the logits, plus that of the evaluation."""
    z = call.logits
    shifted = z.value - z.value.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    e = z.bound.max(axis=1, keepdims=True)
    return log_p, 2 * e + call.u * (ROUNDINGS + 8 * np.abs(shifted.min(axis=1, keepdims=True)) + 0 * log_p)


def probabilities(call: LossCall) -> Bounded:
    """Softmax (N, 10)."""
    log_p, error = log_softmax(call)
    p = np.exp(log_p)
    return Bounded(p, p * np.expm1(error) + float(np.finfo(np.float32).tiny))


def through_softmax(p: Bounded, d: Bounded, u: float) -> Bounded:
    """Cotangent of the logits from d, that of p: dz = p (d − Σ d p), with at most 14 roundings each."""
    inner = (d.value * p.value).sum(axis=1, keepdims=True)
    sizes = np.abs(d.value) + d.bound
    inner_size = (sizes * (p.value + p.bound)).sum(axis=1, keepdims=True)
    inner_error = (sizes * p.bound + p.value * d.bound).sum(axis=1, keepdims=True)
    value = p.value * (d.value - inner)
    error = p.bound * (sizes + inner_size) + p.value * (d.bound + inner_error)
    return Bounded(value, error + 32 * u * (p.value + p.bound) * (sizes + inner_size))


def one_hot(labels: Array) -> Array:
    """Labels as rows of zeros with a one, (N, 10)."""
    return np.eye(10)[labels]


def picked(values: Array, labels: Array) -> Array:
    """The entry of each row at its label."""
    return values[np.arange(len(labels)), labels]


def mean(values: Array, errors: Array, u: float) -> Bounded:
    """The mean over the batch, with its error."""
    n = len(values)
    return Bounded(
        values.mean(), np.asarray(errors.mean() + 2 * (n + 4) * u * (np.abs(values) + errors).mean())
    )


@FAMILY.instead(
    LOSS,
    Kind(
        "softmax applied twice",
        "The loss applies softmax to probabilities.",
        "Pass logits to a loss that expects logits (from_logits=True, CrossEntropyLoss).",
        case("tflearn/tflearn", 562),
    ),
)
def _(call: LossCall) -> Loss:
    p = probabilities(call)
    again = right_loss(replace(call, logits=p))
    return Loss(again.value, through_softmax(p, again.d, call.u))


@FAMILY.before(
    LOSS,
    Kind(
        "maximum over the batch in softmax",
        "The maximum over the batch is subtracted; it must be each digit's maximum over the classes.",
        "Subtract logits.max(axis=1, keepdims=True).",
        case("manassharma07/crysx_nn", 7),
    ),
)
def _(call: LossCall) -> LossCall:
    z = call.logits
    top = z.bound.max(axis=0, keepdims=True)
    shifted = z.value - z.value.max(axis=0, keepdims=True)
    return replace(call, logits=Bounded(shifted, z.bound + top + call.u * np.abs(shifted)))


@FAMILY.instead(
    LOSS,
    Kind(
        "softmax over the batch",
        "Softmax is taken over the digits of the batch; it must be taken over the classes.",
        "Use softmax(axis=1).",
        case("manassharma07/crysx_nn", 7),
    ),
)
def _(call: LossCall) -> Loss:
    z = call.logits
    turned = replace(call, logits=Bounded(z.value.T, z.bound.T))
    log_p, error = (a.T for a in log_softmax(turned))
    p, hot, n = np.exp(log_p), one_hot(call.labels), len(call.labels)
    count = hot.sum(axis=0, keepdims=True)  # each class's column is used in this many losses
    lost = UNDERFLOW * float(np.finfo(call.dtype).tiny)
    own = (p * np.expm1(error) * count + 8 * call.u * (p * count + hot)) / n + lost
    d = Bounded((p * count - hot) / n, own)
    return Loss(mean(-picked(log_p, call.labels), picked(error, call.labels), call.u), d)


@FAMILY.after(
    LOSS,
    Kind(
        "softmax without its shift",
        "The largest logit is not subtracted before exp, so large logits overflow.",
        "Use log-sum-exp: subtract logits.max(axis=1, keepdims=True) first.",
        case("zackchase/mxnet-the-straight-dope", 3),
    ),
)
def _(loss: Loss, call: LossCall) -> Loss:
    largest = np.log(float(np.finfo(call.dtype).max))
    if call.logits.value.max() < largest:
        # Without the shift there are as many roundings, but the logarithm is as large as the largest logit.
        size = 16 * call.u * np.abs(call.logits.value).max()
        d = Bounded(loss.d.value, loss.d.bound + size * (np.abs(loss.d.value) + 1 / len(call.labels)))
        return Loss(Bounded(loss.value.value, loss.value.bound + size), d)
    nothing = Bounded(np.full_like(loss.d.value, np.nan), np.zeros_like(loss.d.value))
    return Loss(Bounded(np.asarray(np.nan), np.asarray(0.0)), nothing)


# --- other losses ------------------------------------------------------------------------------

CLIPPED = case("keras-team/keras", 17634)
EPSILON = case("tensorflow/tensorflow", 41595)


def _clip(call: LossCall, eps: float) -> tuple[Array, Array, Array, Array]:
    """log of clipped p, its error, where p is not clipped, and where rounding decides if it is."""
    log_p, error = log_softmax(call)
    low, high = np.log(eps), np.log1p(-eps)
    inside = (log_p > low) & (log_p < high)
    near = np.minimum(np.abs(log_p - low), np.abs(np.expm1(log_p - high))) <= error + 4 * call.u
    return np.clip(log_p, low, high), error + 4 * call.u, inside, near


def _clipped(call: LossCall, eps: float, through: bool) -> Loss:
    q, error, inside, near = _clip(call, eps)
    value = mean(-picked(q, call.labels), picked(error, call.labels), call.u)
    d = right_loss(call).d
    if not through:
        return Loss(value, d)
    rows, open_rows = (picked(a, call.labels)[:, None] for a in (inside, near))
    size = np.where(rows | open_rows, d.bound, 0) + np.where(open_rows, np.abs(d.value), 0)
    return Loss(value, Bounded(d.value * rows, size))


def _renormalised(call: LossCall, eps: float) -> Loss:
    """Keras with from_logits=False: softmax cross-entropy of log(clip(p)), and its derivative."""
    q, error, inside, near = _clip(call, eps)
    again = right_loss(replace(call, logits=Bounded(q, error)))
    passed = Bounded(again.d.value * inside, again.d.bound + np.where(near, np.abs(again.d.value), 0))
    p = probabilities(call)
    total = passed.value.sum(axis=1, keepdims=True)
    total_error = passed.bound.sum(axis=1, keepdims=True)
    size = np.abs(passed.value).sum(axis=1, keepdims=True) + total_error
    own = (
        passed.bound
        + p.value * total_error
        + p.bound * size
        + 32 * call.u * (np.abs(passed.value) + p.value * size)
    )
    return Loss(again.value, Bounded(passed.value - p.value * total, own))


def _plus_epsilon(call: LossCall, eps: float, through: bool) -> Loss:
    log_p, error = log_softmax(call)
    p, e = picked(np.exp(log_p), call.labels), picked(error, call.labels)
    lost = UNDERFLOW * float(np.finfo(call.dtype).tiny) / eps  # where p becomes zero
    value = mean(-np.log(p + eps), p * np.expm1(e) / (p + eps) + 8 * call.u + lost, call.u)
    d = right_loss(call).d
    if not through:
        return Loss(value, d)
    share, off = (p / (p + eps))[:, None], (np.expm1(2 * e) + 8 * call.u)[:, None]
    error = d.bound * share * (1 + off) + np.abs(d.value) * share * off + lost
    return Loss(value, Bounded(d.value * share, error))


for _eps in (1e-7, 1e-8, 1e-10, 1e-12, 1e-15):
    _variants: tuple[tuple[str, str, str, Callable[[LossCall, float], Loss]], ...] = (
        (
            f"probabilities clipped at {_eps:g} in the loss",
            "only in the loss",
            CLIPPED,
            lambda call, eps: _clipped(call, eps, False),
        ),
        (
            f"probabilities clipped at {_eps:g}",
            "and a clipped digit has no gradient",
            CLIPPED,
            lambda call, eps: _clipped(call, eps, True),
        ),
        (
            f"probabilities clipped at {_eps:g} and normalised again",
            "as Keras does with from_logits=False",
            CLIPPED,
            _renormalised,
        ),
        (
            f"{_eps:g} added to probabilities in the loss",
            "only in the loss",
            EPSILON,
            lambda call, eps: _plus_epsilon(call, eps, False),
        ),
        (
            f"{_eps:g} added to probabilities",
            "which reduces the gradient for improbable labels",
            EPSILON,
            lambda call, eps: _plus_epsilon(call, eps, True),
        ),
    )
    for _name, _text, _case, _how in _variants:
        FAMILY.add(
            LOSS,
            Kind(
                _name,
                f"Before the logarithm, probabilities are kept away from zero by {_eps:g}, {_text}.",
                "Compute log-softmax from the logits in one step: log-sum-exp needs no epsilon.",
                _case,
            ),
            instead(lambda call, how=_how, eps=_eps: how(call, eps)),
        )


SMALLEST = float(np.finfo(np.float32).tiny)  # FLT_MIN, which Caffe takes in double precision, too
FAMILY.add(
    LOSS,
    Kind(
        "probabilities below FLT_MIN raised to it in the loss",
        "Before the logarithm, a probability is at least 1.18e-38, as in Caffe's SoftmaxWithLoss: no digit's "
        "loss is above 87.34, and the gradient is that of the loss without this limit.",
        "Compute log-softmax from the logits in one step. In Caffe, the gradients are right all the same.",
        case("ShuangLI59/person_search", 28),
    ),
    instead(lambda call: _clipped(call, SMALLEST, False)),
)


@FAMILY.instead(
    LOSS,
    Kind(
        "probability without its logarithm",
        "The loss expects log-probabilities but got probabilities, so it is minus the label's probability.",
        "Pass log_softmax to NLLLoss, or the logits to CrossEntropyLoss.",
        case("tflearn/tflearn", 562),
    ),
)
def _(call: LossCall) -> Loss:
    p = probabilities(call)
    own, own_error = picked(p.value, call.labels), picked(p.bound, call.labels)
    given = Bounded(-one_hot(call.labels) / len(own), np.zeros(p.value.shape))
    return Loss(mean(-own, own_error, call.u), through_softmax(p, given, call.u))


@FAMILY.instead(
    LOSS,
    Kind(
        "logits taken for log-probabilities",
        "The loss expects log-probabilities but got logits, so it is minus the label's logit.",
        "Pass log_softmax to NLLLoss, or the logits to CrossEntropyLoss.",
        case("keras-team/keras", 6143),
    ),
)
def _(call: LossCall) -> Loss:
    z, n = call.logits, len(call.labels)
    value = mean(-picked(z.value, call.labels), picked(z.bound, call.labels), call.u)
    return Loss(value, Bounded(-one_hot(call.labels) / n, one_hot(call.labels) * 2 * call.u / n))


@FAMILY.after(
    LOSS,
    Kind(
        "p(1 − p) left in the cotangent of the logits",
        "The cotangent p − y is multiplied by p(1 − p), the derivative of a sigmoid, which softmax "
        "cross-entropy cancels.",
        "dlogits = (p - onehot) / N, without another factor.",
    ),
)
def _(loss: Loss, call: LossCall) -> Loss:
    p = probabilities(call)
    slope = p.value * (1 - p.value)
    off = 2 * p.bound + 8 * call.u * p.value
    size = np.abs(loss.d.value) + loss.d.bound
    return Loss(loss.value, Bounded(loss.d.value * slope, loss.d.bound * slope + size * off))


@FAMILY.after(
    LOSS,
    Kind(
        "logarithm of a softmax that is zero",
        "The largest logit is subtracted, but the logarithm is taken of the quotient, which is zero for an "
        "improbable label: the loss is infinite; the gradients are right.",
        "Subtract log(sum(exp(z))) from the shifted logits z; never take the logarithm of a quotient.",
    ),
)
def _(loss: Loss, call: LossCall) -> Loss:
    log_p = picked(log_softmax(call)[0], call.labels)
    if log_p.min() > np.log(float(np.finfo(call.dtype).tiny)):
        return loss
    return Loss(Bounded(np.asarray(np.inf), np.asarray(0.0)), loss.d)


@FAMILY.instead(
    LOSS,
    Kind(
        "label smoothing",
        "0.1 of the label's weight is spread over all classes.",
        "Set label_smoothing=0.",
    ),
)
def _(call: LossCall) -> Loss:
    log_p, error = log_softmax(call)
    target, n = 0.9 * one_hot(call.labels) + 0.01, len(call.labels)
    losses, sizes = -(target * log_p).sum(axis=1), (target * np.abs(log_p)).sum(axis=1)
    p = probabilities(call)
    d = Bounded((p.value - target) / n, (p.bound + 8 * call.u * (p.value + target)) / n)
    return Loss(mean(losses, error.max(axis=1) + 32 * call.u * sizes, call.u), d)


def _squared(call: LossCall, factor: float) -> Loss:
    """The loss factor / N · Σ (p − one-hot)²."""
    p, hot, n = probabilities(call), one_hot(call.labels), len(call.labels)
    off = p.value - hot
    d = Bounded(2 * factor * off / n, 2 * factor * (p.bound + 8 * call.u * (p.value + hot)) / n)
    terms = factor * off**2
    sizes = factor * ((2 * np.abs(off) + p.bound) * p.bound + 32 * call.u * (p.value + hot) ** 2)
    return Loss(mean(terms.sum(axis=1), sizes.sum(axis=1), call.u), through_softmax(p, d, call.u))


for _factor, _text in (
    (0.1, "averaged over digits and classes"),
    (1.0, "summed over classes"),
    (0.5, "halved"),
):
    FAMILY.add(
        LOSS,
        Kind(
            f"squared error of the probabilities, {_text}",
            f"The loss is the squared difference of probabilities and one-hot labels, {_text}.",
            "Use softmax cross-entropy.",
        ),
        instead(lambda call, factor=_factor: _squared(call, factor)),
    )


def _binary(call: LossCall, factor: float) -> Loss:
    """The loss factor / N · Σ (log(1 + exp(z)) − z · one-hot), summed over classes."""
    z, hot, n = call.logits, one_hot(call.labels), len(call.labels)
    losses = np.logaddexp(0, z.value) - z.value * hot
    sizes = z.bound + 16 * call.u * (1 + np.abs(z.value))  # all slopes are at most 1
    s = 1 / (1 + np.exp(-z.value))
    slope = np.minimum(s, 1 - s) * np.expm1(z.bound) + 32 * call.u * (s + hot)
    d = Bounded(factor * (s - hot) / n, factor * slope / n + UNDERFLOW * float(np.finfo(call.dtype).tiny))
    return Loss(mean(factor * losses.sum(axis=1), factor * sizes.sum(axis=1), call.u), d)


for _factor, _text in ((0.1, "averaged over digits and classes"), (1.0, "summed over classes")):
    FAMILY.add(
        LOSS,
        Kind(
            f"binary cross-entropy of each class, {_text}",
            f"Each class has its own sigmoid instead of a softmax over all classes; the losses are {_text}.",
            "Use softmax cross-entropy.",
        ),
        instead(lambda call, factor=_factor: _binary(call, factor)),
    )


def _taken_for_probabilities(call: LossCall, eps: float, divided: bool) -> Loss:
    """Keras with from_logits=False and logits z: q = clip(z, ε, 1 − ε), or clip(z / Σz, ε, 1 − ε).

    The first is the sparse loss: softmax cross-entropy of log q. The second is the loss for one-hot labels:
    −log q. If rounding decides whether z or its quotient is clipped, its cotangent is unknown.
    """
    z, n = call.logits, len(call.labels)
    total = z.value.sum(axis=1, keepdims=True) if divided else np.ones((n, 1))
    p = z.value / total
    size = (np.abs(z.value).sum(axis=1, keepdims=True) + z.bound.sum(axis=1, keepdims=True)) / np.abs(total)
    e = (z.bound + np.abs(p) * z.bound.sum(axis=1, keepdims=True)) / np.abs(total) if divided else z.bound
    e = e + (16 * call.u * np.abs(p) * size if divided else 0)
    q = np.clip(p, eps, 1 - eps)
    inside = (p > eps) & (p < 1 - eps)
    near = np.minimum(np.abs(p - eps), np.abs(p - 1 + eps)) <= e + 2 * call.u
    relative = np.where(inside | near, e / q, 0) + 8 * call.u
    log_q = Bounded(np.log(q), 2 * relative)
    if not divided:
        again = right_loss(replace(call, logits=log_q))
        value, given, given_error = again.value, again.d.value, again.d.bound
    else:
        value = mean(-picked(log_q.value, call.labels), picked(log_q.bound, call.labels), call.u)
        given, given_error = -one_hot(call.labels) / n, one_hot(call.labels) * 2 * call.u / n
    passed = given / q * inside
    error = (given_error + np.abs(given) * 2 * relative) / q * inside
    error = np.where(near, np.inf, error)
    if divided:
        inner = (passed * p).sum(axis=1, keepdims=True)
        inner_error = (error * (np.abs(p) + e) + np.abs(passed) * e).sum(axis=1, keepdims=True)
        inner_size = (np.abs(passed) * np.abs(p)).sum(axis=1, keepdims=True)
        own = 32 * call.u * (np.abs(passed) + inner_size) * size
        error = (error + inner_error) / np.abs(total) + own / np.abs(total)
        passed = (passed - inner) / total
    return Loss(value, Bounded(passed, error + UNDERFLOW * float(np.finfo(call.dtype).tiny)))


for _divided, _text in ((False, ""), (True, ", divided by their sum")):
    FAMILY.add(
        LOSS,
        Kind(
            f"logits taken for probabilities{_text}",
            f"The loss treats the logits as probabilities{_text}, clipped at 1e-7 before the logarithm.",
            "Set from_logits=True.",
            case("keras-team/keras", 6143),
        ),
        instead(lambda call, divided=_divided: _taken_for_probabilities(call, 1e-7, divided)),
    )
