"""Runs a PyTorch module and keeps what its modules return."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from parity.arithmetic import Array
from parity.errors import UserError
from parity.record.frameworks.arguments import Arguments
from parity.record.frameworks.torch_names import plain
from parity.record.own_names import own_name

if TYPE_CHECKING:
    import torch

    Tensors = list[torch.Tensor]
Seen = dict[str, "Tensors"]  # {call of a module, "layer1.0.relu@1": the tensors that it returned}


def inner_module(module: "torch.nn.Module") -> "torch.nn.Module":
    """The module that torch.compile wraps, or the module itself."""
    return getattr(module, "_orig_mod", module)


def modules(module: "torch.nn.Module") -> "dict[str, torch.nn.Module]":
    """{path: module} of all modules inside of a module, without the wrappers of torch.compile.

    A module with several paths has the first one.
    """
    first = {}
    for path, one in module.named_modules():
        if plain(path) and inner_module(one) is one:
            first[plain(path)] = one
    return first


def aliases(module: "torch.nn.Module") -> dict[str, str]:
    """{other path of a module: its first path}."""
    first = {id(one): path for path, one in modules(module).items()}
    every = ((plain(path), id(one)) for path, one in module.named_modules(remove_duplicate=False))
    return {path: first[one] for path, one in every if one in first and path != first[one]}


@contextmanager
def watching(module: "torch.nn.Module", paths: Collection[str]) -> Iterator[Seen]:
    """Keep what the modules with these paths return, while the context lasts.

    Compiled code that was compiled with hooks is compiled anew without them.

    Raises:
        UserError: a compiled module does not call hooks, because it was compiled before they were added.
    """

    kept: list[tuple[str, Tensors]] = []
    found: Seen = {}

    def hook(path: str) -> Any:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            kept.append((path, [one.detach().clone() for one in leaves(output)]))

        return keep

    every, handles = modules(module), []
    for path, one in every.items():
        if path in paths:
            handles.append(one.register_forward_hook(hook(path)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
    _check_compiled(module, {path for path, _ in kept}, {path for path in every if path in paths})
    calls: dict[str, int] = {}
    for path, tensors in kept:
        found[own_name(path, calls.get(path, 0))] = tensors
        calls[path] = calls.get(path, 0) + 1


def _check_compiled(module: "torch.nn.Module", called: set[str], watched: set[str]) -> None:
    """Refuse a compiled module of which no part was seen.

    Raises:
        UserError: there is such a module.
    """
    for path, one in module.named_modules():
        wrapped = inner_module(one) is not one
        if wrapped or getattr(one, "_compiled_call_impl", None) is not None:
            inside = {name for name in watched if not plain(path) or f"{name}.".startswith(f"{plain(path)}.")}
            if inside and not inside & called:
                which = plain(path) or type(inner_module(one)).__name__
                raise UserError(
                    f"the compiled module {which!r} calls no hooks, because it was compiled before: call "
                    "torch.compiler.reset() first, or record it before it is first run"
                )


def on_device(module: "torch.nn.Module", given: Arguments) -> Arguments:
    """The arguments as tensors on the device of the module."""
    import torch

    where = next((one.device for one in (*module.parameters(), *module.buffers())), None)

    def moved(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            value = as_tensor(np.asarray(value))
        if torch.is_tensor(value):
            return value if where is None else value.to(where)
        if isinstance(value, tuple | list):
            return type(value)(moved(one) for one in value)
        return {key: moved(one) for key, one in value.items()} if isinstance(value, dict) else value

    return replace(
        given,
        positional={name: moved(value) for name, value in given.positional.items()},
        named={name: moved(value) for name, value in given.named.items()},
    )


def leaves(output: Any) -> "Tensors":
    """The tensors in what a module takes or returns, in order."""
    import torch

    if torch.is_tensor(output):
        return [output]
    if isinstance(output, Mapping):
        output = list(output.values())
    return [one for part in output for one in leaves(part)] if isinstance(output, tuple | list) else []


def as_array(tensor: "torch.Tensor") -> Array:
    """A tensor on any device as an array; bfloat16 and float8 become types of ml_dtypes."""
    import torch

    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    if not hasattr(np, name) and hasattr(ml_dtypes, name):
        raw = tensor.contiguous().view({1: torch.uint8, 2: torch.int16}[tensor.element_size()])
        return raw.numpy().view(getattr(ml_dtypes, name))
    return tensor.resolve_conj().resolve_neg().numpy()


def as_tensor(array: Array) -> "torch.Tensor":
    """An array as a tensor of its own memory."""
    import torch

    array = np.array(array, order="C")
    if hasattr(torch, array.dtype.name) and hasattr(ml_dtypes, array.dtype.name):
        raw = torch.from_numpy(array.view({1: np.uint8, 2: np.int16}[array.dtype.itemsize]))
        return raw.view(getattr(torch, array.dtype.name))
    return torch.from_numpy(array)
