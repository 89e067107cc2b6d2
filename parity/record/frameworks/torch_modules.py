"""PyTorch modules: their graph by PyTorch's exporter, and what they compute, by forward hooks."""

import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx import ModelProto

from parity.arithmetic import Array
from parity.errors import UserError, importing
from parity.record.frameworks.arguments import bound
from parity.record.frameworks.torch_hooks import (
    Seen,
    aliases,
    as_array,
    inner_module,
    leaves,
    modules,
    on_device,
    watching,
)
from parity.record.frameworks.torch_names import CALLS, Returned, plain, same_calls, traced
from parity.record.own_names import Names, entries_of, like, own_name, renamed, split, turned
from parity.record.sessions import refusing

if TYPE_CHECKING:
    import torch


def export_torch(module: "torch.nn.Module", inputs: Any) -> ModelProto:
    """The graph of a module, by PyTorch's exporter: in eval mode, nothing folded, the weights as they are.

    BatchNorm stays apart from the convolution before it: folded weights are rounded, which is another
    function. A module behind torch.compile is exported without it, and autocast has no effect.

    Args:
        module: left as it is, in training mode too.
        inputs: a mapping from the arguments of `forward` to arrays or tensors; a tuple; or one array.

    Raises:
        MissingFramework: PyTorch, or onnxscript, which its exporter needs, is not installed.
        UserError: the exporter refuses the module, or the inputs do not fit its arguments.
    """
    with importing("PyTorch's exporter", "torch", "onnxscript"):
        import onnxscript  # noqa: F401
        import torch
    inner = inner_module(module)
    given = on_device(inner, bound(inner.forward, inputs, {}))
    with refusing("PyTorch cannot export the module"), _reason(), _as_exported(inner):
        program = torch.onnx.export(
            inner,
            tuple(given.positional.values()),
            kwargs=given.named,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    assert program.exported_program is not None
    calls = {node.name: _calls(node.meta) for node in program.exported_program.graph.nodes}
    model = program.model_proto
    for node in model.graph.node:
        written = {one.key: one.value for one in node.metadata_props}
        name = written.get("pkg.torch.onnx.fx_node", "").partition(" ")[0].removeprefix("%")
        if name in calls:
            node.metadata_props.add(key=CALLS, value=json.dumps(calls[name]))
    return model


@contextmanager
def _reason() -> Iterator[None]:
    """Raise the error from which an error of the exporter comes, which only says how to report it."""
    try:
        yield
    except Exception as error:
        while error.__cause__ is not None and isinstance(error.__cause__, Exception):
            error = error.__cause__
        raise error from None


def _calls(meta: dict[str, Any]) -> list[str]:
    """The calls of modules in which a node was traced; the exporter writes the second as "L__self__act@1"."""
    found: dict[str, None] = {}
    for key, (path, _) in meta.get("nn_module_stack", {}).items():
        number = key.rpartition("@")[2] if "@" in key else "0"
        if name := plain(path):
            found[own_name(name, int(number) if number.isdigit() else 0)] = None
    return list(found)


@contextmanager
def _as_exported(module: "torch.nn.Module") -> Iterator[None]:
    """Eval mode, no autocast, no compiled parts, and no log of the exporter's. Everything is put back.

    The exporter writes wrong paths for what lies in a compiled part.
    """
    import torch

    logs = [logging.getLogger(name) for name in ("torch.onnx", "torch.export")]
    levels = [log.level for log in logs]
    every = list(module.modules())
    modes = [(one, one.training) for one in every]
    parts = [(one, name, part) for one in every for name, part in one.named_children()]
    wrapped = [(one, name, part) for one, name, part in parts if inner_module(part) is not part]
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        stack.enter_context(torch.no_grad())
        for kind in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(kind, enabled=False))
        try:
            for log in logs:
                log.setLevel(logging.CRITICAL)
            for one, name, part in wrapped:
                setattr(one, name, inner_module(part))
            module.eval()
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)
            for one, name, part in wrapped:
                setattr(one, name, part)
            for one, training in modes:
                one.training = training


def record_torch(
    module: "torch.nn.Module", inputs: Any, names: Names | Path | ModelProto | None = None
) -> dict[str, Array]:
    """The inputs, and what modules return, under the names of tensors in the exported graph.

    The module is run once and as it is: in its mode, on its device, under the autocast in effect, compiled
    or not. float16 and bfloat16 are kept. Tensors are copied when they are returned, so that an operation in
    place does not change them. The buffers of a module in training mode are put back.

    Args:
        module: what to run.
        inputs: a mapping from the arguments of `forward`, or their names in the graph, to arrays or tensors;
            a tuple; or one array.
        names: {own name: tensor of the graph}: of modules, "layer1.0.relu@1" for the second call, "lstm:0"
            for the first of several tensors; of arguments; "return" for what the whole module returns. Or a
            graph that PyTorch's exporter made of this module. Without it the module is exported.

    Raises:
        MissingFramework: PyTorch is not installed.
        UserError: there is no such module, it was not called, or it cannot be exported.
    """
    with importing("PyTorch", "torch"):
        import torch
    if names is None:
        names = export_torch(module, inputs)
    wanted = {} if isinstance(names, ModelProto) else entries_of(names)
    paths = modules(module)
    _check_known(module, wanted, paths)
    arguments = {own: entry for own, entry in wanted.items() if split(own)[0] not in paths}
    given = on_device(module, bound(inner_module(module).forward, inputs, arguments))
    watched = paths if isinstance(names, ModelProto) else {split(own)[0] for own in wanted}
    with torch.no_grad(), _buffers_kept(module), watching(module, watched) as seen:
        returned = module(*given.positional.values(), **given.named)
    fed = {name: leaves(value) for name, value in given.all.items()}
    outputs = [one.detach() for one in leaves(returned)]
    if isinstance(names, ModelProto):
        flat = [one for several in fed.values() for one in several]
        return _by_graph(names, flat, seen, outputs, aliases(module))
    found = dict(_inputs(fed, given.entries))
    if "return" not in paths:
        seen["return"] = outputs
    arrays: dict[str, Array] = {}
    for call, several in seen.items():
        for place, one in enumerate(several):
            arrays[own_name(*split(call), place, len(several))] = as_array(one)
    asked = {own: entry for own, entry in wanted.items() if own not in given.entries or own in paths}
    return {**found, **renamed(arrays, asked)}


def _inputs(
    fed: "Mapping[str, list[torch.Tensor]]", entries: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[str, Array]]:
    """The inputs under the names and in the layout of the graph."""
    for argument, several in fed.items():
        name, axes = entries[argument]
        for place, one in enumerate(several):
            yield own_name(name, 0, place, len(several)), turned(as_array(one), axes, argument)


def _check_known(module: "torch.nn.Module", wanted: Iterable[str], paths: Iterable[str]) -> None:
    takes = {*signature(inner_module(module).forward).parameters, "return"}
    for own in wanted:
        if split(own)[0] not in {*paths, *takes}:
            raise UserError(f"there is no module {own!r}{like(own, {*paths, *takes})}")


def _by_graph(
    model: ModelProto,
    fed: "list[torch.Tensor]",
    seen: Seen,
    outputs: "list[torch.Tensor]",
    aliases: Mapping[str, str],
) -> dict[str, Array]:
    """What was recorded, under the names that the exporter's metadata tells.

    A tensor that leaves a call is taken for the tensor of its shape that the call returned, if there is only
    one.
    """
    stored = {one.name for one in model.graph.initializer}
    entries = [one.name for one in model.graph.input if one.name not in stored]
    if len(entries) != len(fed):
        raise UserError(f"the graph has the inputs {', '.join(entries)}, but {len(fed)} were given")
    found = {name: as_array(one) for name, one in zip(entries, fed, strict=True)}
    told = traced(model)
    for call, theirs in same_calls(told, seen, aliases).items():
        tensors, leaving = seen[call], told.returned.get(theirs, ())
        for one in leaving:
            places = [k for k, tensor in enumerate(tensors) if _fits(tensor, one)]
            if len(places) == 1 and sum(_fits(tensors[places[0]], other) for other in leaving) == 1:
                found.setdefault(one.name, as_array(tensors[places[0]]))
    if len(model.graph.output) == len(outputs):
        for result, tensor in zip(model.graph.output, outputs, strict=True):
            found.setdefault(result.name, as_array(tensor))
    return found


def _fits(tensor: "torch.Tensor", one: Returned) -> bool:
    if one.shape is None:
        return True
    pairs = zip(tensor.shape, one.shape, strict=False)
    return tensor.dim() == len(one.shape) and all(known is None or size == known for size, known in pairs)


@contextmanager
def _buffers_kept(module: "torch.nn.Module") -> Iterator[None]:
    """Put the buffers back that a module in training mode changes: running statistics."""
    kept = [(one, one.detach().clone()) for one in module.buffers()] if module.training else []
    try:
        yield
    finally:
        for one, before in kept:
            one.copy_(before)
