"""Writes parts of a split tensor as slices: PyTorch exports `chunk` and `split` as sequences of tensors."""

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, helper

from parity.arithmetic import Array
from parity.onnx.flatten import fresh, reads, standard

LAST = 2**63 - 1  # an end behind every axis
Known = Callable[[str], Array | None]


def without_sequences(
    nodes: Sequence[NodeProto], known: Known, wanted: set[str], taken: set[str]
) -> tuple[list[NodeProto], dict[str, Array]]:
    """Replace each SequenceAt of a SplitToSequence by a Slice or a Gather, where the place is a constant.

    Args:
        nodes: those of one graph.
        known: a function that returns the value of a tensor, or None if it is not a constant.
        wanted: the outputs of the graph.
        taken: names that are in use; those of the new constants are added.

    Returns:
        the nodes, and the constants that the new nodes read, by name.
    """
    splits = {node.output[0]: node for node in nodes if _is(node, "SplitToSequence") and len(node.output)}
    flat: list[NodeProto] = []
    constants: dict[str, Array] = {}
    for node in nodes:
        is_part = _is(node, "SequenceAt") and len(node.input) == 2 and len(node.output) == 1
        split = splits.get(node.input[0]) if is_part else None
        part = _part(split, known(node.input[1]), known) if split else None
        if split is None or part is None:
            flat.append(node)
            continue
        slice_, numbers = _slice(node, split, part, taken)
        flat.append(slice_)
        constants |= numbers
    needed = wanted.union(*(reads(node) for node in flat))
    return [node for node in flat if not _is(node, "SplitToSequence") or needed & {*node.output}], constants


def _is(node: NodeProto, kind: str) -> bool:
    return node.op_type == kind and not standard(node.domain)


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((one.i for one in node.attribute if one.name == name), default)


def _part(split: NodeProto, place: Array | None, known: Known) -> tuple[int, ...] | None:
    """Where a part starts and ends; or its place alone, where the axis goes; None if that is not known."""
    if place is None or place.size != 1 or place.dtype.kind not in "iu":
        return None
    at = int(place.item())
    if len(split.input) < 2 or not split.input[1]:
        return (at, at + 1 or LAST) if _attribute(split, "keepdims", 1) else (at,)
    sizes = known(split.input[1])
    if sizes is None or not sizes.size or sizes.dtype.kind not in "iu" or sizes.min() < 0:
        return None
    if sizes.ndim == 0:  # parts of one size
        return (at * int(sizes), (at + 1) * int(sizes)) if at >= 0 else None
    ends = [int(end) for end in np.cumsum(sizes)]
    return ((0, *ends)[:-1][at], ends[at]) if -len(ends) <= at < len(ends) else None


def _slice(
    node: NodeProto, split: NodeProto, part: tuple[int, ...], taken: set[str]
) -> tuple[NodeProto, dict[str, Array]]:
    """A node that reads the part from the tensor that is split, and its constants."""
    axis, output = _attribute(split, "axis", 0), node.output[0]
    if len(part) == 1:
        place = fresh(f"{output}:place", node.name, taken)
        gather = helper.make_node("Gather", [split.input[0], place], [output], node.name, axis=axis)
        return gather, {place: np.array(part[0])}
    names = [fresh(f"{output}:{what}", node.name, taken) for what in ("starts", "ends", "axes")]
    numbers = {name: np.array([number]) for name, number in zip(names, (*part, axis), strict=True)}
    return helper.make_node("Slice", [split.input[0], *names], [output], node.name), numbers
