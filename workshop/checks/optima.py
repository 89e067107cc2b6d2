"""Self-checks of notebook 15."""

from collections.abc import Callable
from typing import Any

import numpy as np

from workshop.checks.marking import NotRight, called, check, exact_network, same, same_form, untouched, within
from workshop.counted_adam import KERAS, PAPER, Adam

Array = np.ndarray
Answer = Callable[..., Any]
FORMS = {  # definitions that are mistaken for algorithm 1
    "these are the values of Keras' definition: ε is added to √v before the correction": KERAS,
    "these are the values with ε inside the root": Adam("inside"),
    "these are the values without the corrections 1 − βᵗ": Adam(corrected=False),
}


@check
def reordered_maps(answer: Answer) -> str:
    """Check another order of conv2's maps: with exact weights, every later layer must keep its bits."""
    exact, network, images = exact_network()
    y = network.activations(images)
    order = np.random.default_rng(1).permutation(16)
    given = {name: w.copy() for name, w in exact.items()}, order.copy()
    found = called(answer, *given)
    untouched(given, (exact, order))
    if not isinstance(found, dict) or found.keys() != exact.keys():
        raise NotRight(f"return a dict of the {len(exact)} parameters, with the same names")
    network.load({name: same_form(name, found[name], w) for name, w in exact.items()})
    z = network.activations(images)
    if np.array_equal(z["conv2"], y["conv2"]):
        raise NotRight("conv2 is as it was: its maps have no other order")
    if np.array_equal(z["conv2"], y["conv2"][:, np.argsort(order)]):
        raise NotRight("conv2 has the inverse order: map k must be the old map order[k]")
    same("with the new order, conv2", z["conv2"], y["conv2"][:, order])
    if np.array_equal(found["fc1.weight"], exact["fc1.weight"]):
        raise NotRight("fc1 still reads the old order: its columns must move with the maps")
    for name in ("fc1", "logits"):
        same(name, z[name], y[name])
    return "conv2's maps have another order, and fc1 and the logits keep every bit"


@check
def adam(answer: Answer) -> str:
    """Check six steps in float64, each from the answer's own weights, within the counted roundings."""
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((6, 40)) * 10.0 ** rng.uniform(-9, 0, (6, 40))
    gradients[:, 0] = 0  # as of a closed unit: ε alone keeps the quotient finite
    w, m, v = rng.standard_normal(40), np.zeros(40), np.zeros(40)
    states = {why: form.start(40) for why, form in {"": PAPER, **FORMS}.items()}
    largest = 0.0
    for t, g in enumerate(gradients, 1):
        rate = 1e-3 if t < 4 else 1e-4
        given = [one.copy() for one in (w, m, v, g)]
        for why, form in {"": PAPER, **FORMS}.items():
            states[why] = form.step(states[why], w, g, t, rate=rate, dtype="float64")
        found = same_form(answer.__name__, called(answer, *given, t, rate), (w, m, v))
        untouched(given, (w, m, v, g))
        for name, one, right in zip("mv", found[1:], states[""][1:], strict=True):
            within(f"step {t}: {name}", one, right)
        for why in FORMS:
            if _is(found[0], states[why].w) and not _is(found[0], states[""].w):
                raise NotRight(f"step {t}: {why}")
        largest = max(largest, within(f"step {t}: w", found[0], states[""].w))
        w, m, v = found
    return f"six steps of algorithm 1; the largest error is {largest:.1%} of the counted roundings"


def _is(w: Array, expected: Any) -> bool:
    """Whether the weights are those of a definition."""
    return bool((np.abs(w - expected.value) <= expected.bound).all())
