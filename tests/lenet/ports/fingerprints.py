"""As a program: what several ports return in one process, as fingerprints of its bits.

    python -m tests.lenet.ports.fingerprints numpy torch tf

opens these ports in this order, each in its dtypes, and runs them in two: each as soon as it is opened, so
that the first has the process to itself, and then backwards call by call, so that every other port and
dtype comes between any two calls of one. Prints JSON.
"""

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from lenet.network import digits, weights
from lenet.network.recipe import Batch, Recipe
from lenet.ports import Port, framework, open_port
from tests.helpers import BATCH

CALLS = ("activations", "step")
# Without decay the velocity after a first step is the gradient itself: a step shows loss, gradients, update.
RECIPE = Recipe(weight_decay=0.0)


def calls(name: str) -> tuple[str, ...]:
    """What the port can do."""
    return CALLS[:1] if framework(name).forward_only else CALLS


def dtypes(name: str) -> tuple[str, ...]:
    """Both where they are switched, and in one that never compiles; else one, for the time."""
    return framework(name).dtypes if name in ("numpy", "torch", "jax") else ("float32",)


def fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    """Of names, dtypes, shapes and every bit."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def returned(port: Port, call: str, few: digits.Digits) -> dict[str, np.ndarray]:
    """All that a call gives, from the shared weights."""
    port.load(weights.read())
    if call == "activations":
        return port.activations(few.images)
    (loss,) = port.train([Batch(few.images, few.labels, rate=0.1)], RECIPE)
    gradients = {f"gradient of {name}": v for name, v in port.velocity().items()}
    return {"loss": np.array(loss)} | gradients | port.params()


def switches() -> dict[str, str]:
    """What code that is not a port's finds set in the frameworks that this process has loaded."""
    found: dict[str, Any] = {}
    if torch := sys.modules.get("torch"):
        found |= {"torch dtype": torch.get_default_dtype(), "torch gradients": torch.is_grad_enabled()}
    if tf := sys.modules.get("tensorflow"):
        found |= {"tf eager": tf.executing_eagerly()}
    if jax := sys.modules.get("jax"):
        found |= {"jax dtype": jax.numpy.zeros(1).dtype, "jax compiles": not jax.config.jax_disable_jit}
    return {name: str(value) for name, value in found.items()}


def main(names: list[str]) -> None:
    few, ports, found = digits.test_set()[:BATCH], [], defaultdict(list)

    def ask(port: Port, call: str) -> None:
        found[f"{port.name} {port.dtype} {call}"].append(fingerprint(returned(port, call, few)))

    for name in names:
        opened = [open_port(name, dtype) for dtype in dtypes(name)]
        for port, call in product(opened, calls(name)):
            ask(port, call)
        ports += opened
    for call in CALLS:
        for port in reversed(ports):
            if call in calls(port.name):
                ask(port, call)
    print(json.dumps({"fingerprints": found, "switches": switches()}))


if __name__ == "__main__":
    main(sys.argv[1:])
