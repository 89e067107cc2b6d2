"""JAX functions: what they return, and the tensors that are tagged in them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.errors import UserError, importing
from parity.record.frameworks.arguments import bound
from parity.record.own_names import Names, entries_of, like, own_name, renamed

# Primitives that compute a jaxpr once, so that a tag inside has one value: the parameter that holds it.
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}


def record_jax(
    function: Callable[..., Any], inputs: Any, names: Names | Path | None = None
) -> dict[str, Array]:
    """The inputs, the outputs, and every tensor tagged by `jax.ad_checkpoint.checkpoint_name(x, "name")`.

    The function is compiled as by `jax.jit`; the tagged tensors are outputs of the same program. A tag that
    is reached twice gives "name" and "name@1".

    Args:
        function: jitted or not.
        inputs: a mapping from its arguments, or their names in the graph, to arrays; a tuple; or one array.
        names: {own name: tensor of the graph, or (tensor, "NHWC->NCHW")} of arguments, of tags, and of
            outputs: the keys of a dict that the function returns, else "return", or "return:0" and so on.
            What is not named keeps its own name.

    Raises:
        MissingFramework: JAX is not installed.
        UserError: a tag lies in a loop or a branch, names are unknown, or the inputs do not fit.
    """
    with importing("JAX", "jax"):
        import jax
    wanted = entries_of(names or {})
    given = bound(function, inputs, wanted)
    positional = {name: _as_input(value) for name, value in given.positional.items()}
    named = {name: _as_input(value) for name, value in given.named.items()}
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*positional.values(), **named)
    tags: list[str] = []  # filled when the function is traced

    @jax.jit
    def tapped(*leaves: Any) -> Any:
        found: list[tuple[str, Any]] = []
        outputs = _evaluated(closed.jaxpr, closed.consts, leaves, found)
        tags[:] = [name for name, _ in found]
        return outputs, [value for _, value in found]

    outputs, tagged = tapped(*jax.tree.leaves((tuple(positional.values()), named)))
    fed = {
        own_name(name, 0, k, len(several)): one
        for name, value in {**positional, **named}.items()
        for several in [jax.tree.leaves(value)]
        for k, one in enumerate(several)
    }
    own = {**fed, **dict(_numbered(tags, tagged)), **dict(zip(_outputs(shapes), outputs, strict=True))}
    entries = {name: given.entries.get(name, (name, "")) for name in own}
    for name in wanted:
        if name not in own:
            raise UserError(f"nothing is named {name!r}{like(name, own)}")
    return dict(renamed({name: np.asarray(value) for name, value in own.items()}, {**entries, **wanted}))


def _as_input(value: Any) -> Any:
    import jax

    return jax.tree.map(jax.numpy.asarray, value)


def _numbered(tags: Sequence[str], values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    calls: dict[str, int] = {}
    for tag, value in zip(tags, values, strict=True):
        yield own_name(tag, calls.get(tag, 0)), value
        calls[tag] = calls.get(tag, 0) + 1


def _outputs(shapes: Any) -> list[str]:
    """Own names of what a function returns."""
    import jax

    if isinstance(shapes, Mapping) and all(isinstance(key, str) for key in shapes):
        parts = [
            (key, len(jax.tree.leaves(shapes[key]))) for key in sorted(shapes)
        ]  # the order of JAX's leaves
    else:
        parts = [("return", len(jax.tree.leaves(shapes)))]
    return [own_name(name, 0, k, count) for name, count in parts for k in range(count)]


def _evaluated(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any], found: list[tuple[str, Any]]
) -> list[Any]:
    """The outputs of a jaxpr; every tagged tensor is added to `found`."""
    from jax.extend.core import Literal

    values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        name, arguments = equation.primitive.name, [read(one) for one in equation.invars]
        inner = equation.params.get(CALLS.get(name, ""))
        if inner is not None:
            results = _evaluated(
                getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), arguments, found
            )
        else:
            if within := [tag for one in _jaxprs(equation.params) for tag in _tags(one)]:
                where = f"within {name}, where it has no single value"
                raise UserError(f"the tag {within[0]!r} lies {where}: tag what {name} returns")
            results = equation.primitive.bind(*arguments, **equation.params)
            results = results if equation.primitive.multiple_results else [results]
        if name == "name":
            found.append((equation.params["name"], results[0]))
        values.update(zip(equation.outvars, results, strict=True))
    return [read(one) for one in jaxpr.outvars]


def _tags(jaxpr: Any) -> list[str]:
    """The tags in a jaxpr, those in calls, loops and branches too."""
    equations = getattr(jaxpr, "jaxpr", jaxpr).eqns
    own = [one.params["name"] for one in equations if one.primitive.name == "name"]
    return own + [tag for one in equations for inner in _jaxprs(one.params) for tag in _tags(inner)]


def _jaxprs(params: Mapping[str, Any]) -> Iterator[Any]:
    for value in params.values():
        several = value if isinstance(value, tuple | list) else (value,)
        yield from (one for one in several if hasattr(getattr(one, "jaxpr", one), "eqns"))
