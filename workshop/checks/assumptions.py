"""Self-checks of notebook 10."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lenet.network import weights
from lenet.network.digits import test_set
from lenet.ports import open_port
from workshop import letters
from workshop.checks.marking import NotRight, called, check, exact_network, same, same_form

Array = np.ndarray
Answer = Callable[..., Any]


@check
def rearranged_fc1(answer: Answer) -> str:
    """Check fc1's weights for flatten[:, order]: with exact weights the logits must keep every bit."""
    exact, network, images = exact_network()
    y = network.activations(images)
    order = np.random.default_rng(0).permutation(400)
    w = same_form("fc1.weight", called(answer, exact["fc1.weight"].copy(), order), exact["fc1.weight"])
    for wrong, why in (
        (exact["fc1.weight"], "the weights are as they were, but their inputs have another order"),
        (
            exact["fc1.weight"][:, np.argsort(order)],
            "this is the inverse order: column k must multiply value order[k]",
        ),
    ):
        if np.array_equal(w, wrong):
            raise NotRight(why)
    same("fc1", y["flatten"][:, order] @ w.T + exact["fc1.bias"], y["fc1"])
    return "fc1 is the same function, to the bit, of 400 inputs in another order"


@check
def score(answer: Answer) -> str:
    """Check a score that is larger for digits; it must beat the largest softmax probability on both sets."""
    images, network = test_set()[:500].images, open_port("numpy:fast")
    network.load(weights.read())
    digits = network.logits(images)
    others = {"inverted digits": np.float32(1) - images, "letters": letters.images()}
    said = []
    for name, pictures in others.items():
        logits = network.logits(pictures)
        own, their = (same_form("the score", called(answer, z), z[:, 0]) for z in (digits, logits))
        found, usual = _area(own, their), _area(_confidence(digits), _confidence(logits))
        if not found > usual:
            kind = "the wrong way round: digits must score higher" if found < 0.5 else "not better"
            raise NotRight(
                f"a digit scores higher than {name} in {found:.1%} of the pairs; "
                f"the largest probability does in {usual:.1%}: {kind}"
            )
        said.append(f"{name} {found:.1%} (the largest probability: {usual:.1%})")
    return f"a digit scores higher than {' and '.join(said)}"


def _confidence(logits: Array) -> Array:
    """The largest softmax probability, in float64."""
    z = logits.astype(np.float64)
    return 1 / np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)


def _area(own: Array, their: Array) -> float:
    """The area under the ROC curve: the share of pairs with `own` above `their`; a tie counts half."""
    return float(((own[:, None] > their).mean() + (own[:, None] >= their).mean()) / 2)
