"""Two mistakes in one use of an operator."""

from dataclasses import fields, replace
from typing import Any

from parity.judging.causes.mistake import Changed
from parity.operators import Operator


def core(operator: Operator) -> Operator:
    """The operator whose inputs and output are changed."""
    while isinstance(operator, Changed):
        operator = operator.right
    return operator


def with_core(operator: Operator, other: Operator) -> Operator:
    """The same changes of inputs and output around another operator."""
    if isinstance(operator, Changed):
        return Changed(with_core(operator.right, other), operator.before, operator.after)
    return other


def together(right: Operator, one: Operator, two: Operator) -> Operator:
    """The operator with two mistakes: inputs are changed as in `one` first, the output as in `two` first.

    Args:
        right: the operator without a mistake.
        one, two: the operator with one mistake each.

    Raises:
        ValueError: both apply another operator, or set the same attribute.
    """
    return with_core(one, with_core(two, _merged(right, core(one), core(two))))


def _merged(right: Operator, one: Operator, two: Operator) -> Operator:
    if one == right:
        return two
    if two == right:
        return one
    if not type(one) is type(two) is type(right):
        raise ValueError("both mistakes apply another operator")
    first, second = _attributes(right, one), _attributes(right, two)
    if first.keys() & second.keys():
        raise ValueError("both mistakes set the same attribute")
    return replace(right, **first, **second)


def _attributes(right: Operator, wrong: Operator) -> dict[str, Any]:
    """Those that are not as they should be."""
    names = [field.name for field in fields(right)]
    return {name: getattr(wrong, name) for name in names if getattr(wrong, name) != getattr(right, name)}
