"""Finds the layer in which a model raised an exception."""

import traceback
from contextlib import suppress
from typing import Any


def layer(error: BaseException) -> str:
    """The layer of a PyTorch model in which it was raised, in a line; empty where that cannot be known.

    An `nn.Sequential` runs its layers in a loop, so no line of the user's file says which one it was. The
    exception's frames hold the modules that were running: the first is the model, the last its layer.
    """
    with suppress(Exception):  # the modules are the user's, and may do anything when they are asked
        frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
        running = [(held["self"], held) for held in frames if hasattr(held.get("self"), "named_modules")]
        model, (last, held) = running[0][0], running[-1]
        if not list(last.children()):  # in a model's own forward pass the line of the file says it all
            names = [
                f"the layer {name}: " for name, module in model.named_modules() if name and module is last
            ]
            return f"Raised in {''.join(names[:1])}{str(last).splitlines()[0]}{_given(held)}"
    return ""


def _given(held: dict[str, Any]) -> str:
    shapes = [
        tuple(value.shape) for name, value in held.items() if name != "self" and hasattr(value, "shape")
    ]
    return f", given {shapes[0]}" if shapes else ""
