"""Mistakes in the groups of channels of a normalization: another number, or another order."""

from collections.abc import Iterator
from dataclasses import dataclass

from parity.arithmetic import Number
from parity.judging.causes.mistake import Mistake, Seen, first, made_in
from parity.operators import Operator
from parity.operators.normalization import GroupNormalization, InstanceNormalization


@made_in("GroupNormalization", "InstanceNormalization")
def groups(operator: GroupNormalization | InstanceNormalization, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    channels = x.shape[1]
    right = operator.num_groups if isinstance(operator, GroupNormalization) else channels
    for count in (
        range(2, channels) if isinstance(operator, InstanceNormalization) else range(1, channels + 1)
    ):
        if channels % count == 0 and count != right:
            yield _counted(count, right, GroupNormalization(num_groups=count, epsilon=operator.epsilon))


def _counted(count: int, right: int, operator: Operator) -> Mistake:
    return Mistake(
        f"number of groups {count} for {right}",
        "The channels are in another number of groups. Keras' default is 32; one group is layer "
        "normalization, a group for each channel is instance normalization.",
        f"Pass {right} groups.",
        operator,
    )


@dataclass(frozen=True)
class Parts(InstanceNormalization):
    """Instance normalization of (N, G, L), in which each map is normalized in equal parts.

    Attributes:
        parts: how many.
        batch: whether a part is normalized over the whole batch.
    """

    parts: int = 1
    batch: bool = False

    def view(self, x: Number) -> tuple[int, ...]:
        return (*x.shape[:2], self.parts, x.shape[2] // self.parts)

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return (0, 3) if self.batch else (3,)

    def spread(self, x: Number, parameter: Number) -> Number:
        return parameter.reshape(-1, 1, 1)


@dataclass(frozen=True)
class EveryNth(InstanceNormalization):
    """Instance normalization of (N, G, L), a view of channels of which a group takes every G-th."""

    channels: int = 1

    def view(self, x: Number) -> tuple[int, ...]:
        groups = x.shape[1]
        return (x.shape[0], self.channels // groups, groups, x.shape[1] * x.shape[2] // self.channels)

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return (1, 3)

    def spread(self, x: Number, parameter: Number) -> Number:
        return parameter.reshape(1, -1, 1)


@made_in("InstanceNormalization")
def reshaped_groups(operator: InstanceNormalization, seen: Seen) -> Iterator[Mistake]:
    """Group normalization as PyTorch exports it: the channels are reshaped to (N, groups, rest)."""
    x = first(seen.inputs)
    maker = next((one for one in seen.nodes if seen.node and seen.node.inputs[0] in one.outputs), None)
    if x.ndim != 3 or maker is None or maker.type != "Reshape":
        return
    image, groups = seen.values[maker.inputs[0]], x.shape[1]
    channels = image.shape[1]
    for count in range(2 * groups, channels + 1, groups):
        if channels % count == 0:
            yield _counted(count, groups, Parts(epsilon=operator.epsilon, parts=count // groups))
    yield Mistake(
        "each channel normalized over the batch, not each group (batch normalization)",
        "Mean and variance are those of each channel over the whole batch, as in batch normalization.",
        "Normalize the groups of each item by itself.",
        Parts(epsilon=operator.epsilon, parts=channels // groups, batch=True),
    )
    if 1 < groups < channels:
        yield _every_nth(EveryNth(epsilon=operator.epsilon, channels=channels))


@dataclass(frozen=True)
class Interleaved(GroupNormalization):
    """Group normalization in which a group takes every n-th channel; scale and shift stay where they are."""

    def view(self, x: Number) -> tuple[int, ...]:
        return (x.shape[0], x.shape[1] // self.num_groups, self.num_groups, *x.shape[2:])

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return (1, *range(3, x.ndim + 1))

    def spread(self, x: Number, parameter: Number) -> Number:
        if parameter.size == self.num_groups:  # one for each group of the right kind, before opset 21
            wide = parameter.move(lambda a: a.repeat(x.shape[1] // self.num_groups))
            return self.spread(x, wide)
        return parameter.reshape(-1, self.num_groups, *(1,) * (x.ndim - 2))


@made_in("GroupNormalization")
def interleaved(operator: GroupNormalization, seen: Seen) -> Iterator[Mistake]:
    if 1 < operator.num_groups < first(seen.inputs).shape[1]:
        yield _every_nth(Interleaved(num_groups=operator.num_groups, epsilon=operator.epsilon))


def _every_nth(operator: Operator) -> Mistake:
    return Mistake(
        "channels grouped in another order",
        "A group takes every n-th channel, not neighbouring ones.",
        "Reshape the channels to (groups, channels of a group).",
        operator,
        "titu1994/Keras-Group-Normalization#6",
    )
