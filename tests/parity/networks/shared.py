"""Weights that a PyTorch module and a Keras model share: one dict of arrays, by PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Array = np.ndarray
Weights = Mapping[str, Array]
HEADS = 2  # of the attention


def drawn(module: torch.nn.Module, seed: int = 0) -> dict[str, Array]:
    """Random weights for a module, by name: scaled so that values keep their size from layer to layer."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, tensor in module.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("running_var"):
            array = rng.uniform(0.05, 1, shape)
        elif len(shape) > 1:
            array = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            array = rng.standard_normal(shape) / 4 + (name.endswith("weight") and len(shape) == 1)
        if tensor.is_floating_point():
            found[name] = array.astype(np.float32)
    return found


def load_torch(module: torch.nn.Module, weights: Weights) -> None:
    """Give the weights to a PyTorch module, which is left in evaluation mode."""
    import torch

    missing, unknown = module.load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in weights.items()}, strict=False
    )
    assert not unknown
    assert all(name.endswith("num_batches_tracked") for name in missing)
    module.eval()


def load_keras(model: Any, weights: Weights) -> None:
    """Give the weights to a Keras model whose layers have the names of PyTorch's modules.

    A layer whose result is cut off by the next one, which has the name, is called "name.full".
    """
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(LAYOUTS[type(layer).__name__](layer.name.removesuffix(".full"), weights))


def _with_bias(name: str, weights: Weights, kernel: Array) -> list[Array]:
    bias = weights.get(f"{name}.bias")
    return [kernel] if bias is None else [kernel, bias]


def _conv(name: str, weights: Weights) -> list[Array]:
    """OIHW to HWIO."""
    return _with_bias(name, weights, weights[f"{name}.weight"].transpose(2, 3, 1, 0))


def _depthwise(name: str, weights: Weights) -> list[Array]:
    """C1HW to HWC1: one filter for each channel."""
    return _with_bias(name, weights, weights[f"{name}.weight"].transpose(2, 3, 0, 1))


def _transposed(name: str, weights: Weights) -> list[Array]:
    """IOHW to HWOI."""
    return _with_bias(name, weights, weights[f"{name}.weight"].transpose(2, 3, 1, 0))


def _dense(name: str, weights: Weights) -> list[Array]:
    """(out, in) to (in, out)."""
    return _with_bias(name, weights, weights[f"{name}.weight"].T)


def _batch_norm(name: str, weights: Weights) -> list[Array]:
    return [weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]


def _layer_norm(name: str, weights: Weights) -> list[Array]:
    return [weights[f"{name}.weight"], weights[f"{name}.bias"]]


def _embedding(name: str, weights: Weights) -> list[Array]:
    return [weights[f"{name}.weight"]]


def _attention(name: str, weights: Weights) -> list[Array]:
    """Query, key and value in one matrix (3 size, size) to three of (size, heads, size of a head)."""
    size = weights[f"{name}.out_proj.bias"].size
    found = []
    for kernel, bias in zip(
        np.split(weights[f"{name}.in_proj_weight"], 3),
        np.split(weights[f"{name}.in_proj_bias"], 3),
        strict=True,
    ):
        found += [kernel.T.reshape(size, HEADS, -1), bias.reshape(HEADS, -1)]
    out = weights[f"{name}.out_proj.weight"].T.reshape(HEADS, -1, size)
    return [*found, out, weights[f"{name}.out_proj.bias"]]


def _positions(name: str, weights: Weights) -> list[Array]:
    return [weights[name]]


def _lstm(name: str, weights: Weights) -> list[Array]:
    """(4 hidden, in) to (in, 4 hidden), gates i, f, c, o in both; the two biases become one."""
    kernel, recurrent = weights[f"{name}.weight_ih_l0"].T, weights[f"{name}.weight_hh_l0"].T
    return [kernel, recurrent, weights[f"{name}.bias_ih_l0"] + weights[f"{name}.bias_hh_l0"]]


LAYOUTS: dict[str, Callable[[str, Weights], list[Array]]] = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "Conv2DTranspose": _transposed,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Embedding": _embedding,
    "LSTM": _lstm,
    "MultiHeadAttention": _attention,
    "Positions": _positions,
}
