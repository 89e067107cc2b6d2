"""Reports of results in a shorter format than float32."""

import numpy as np
from onnx import TensorProto, helper

from parity.arithmetic.floats import TF32
from tests.parity.reports.report import Rebuilt, case
from tests.parity.small import model, normal


@case(
    7,
    "microsoft/onnxruntime#19288",
    "A vision model on a GPU differs by 0.33, with TF32 off by 4e-4.",
    needs=("torch",),
    verdict="coarse",
    tensor="y",
    cause="operands with 10 bits of fraction: TF32 or float16",
)
def tensor_cores() -> Rebuilt:
    """A 3×3 convolution over 256 channels; the port is PyTorch on operands that were rounded to TF32 before
    (no GPU is needed: this is emulated)."""
    import torch

    x, w = normal(1, 256, 8, 8), normal(32, 256, 3, 3) / 48
    short = [torch.from_numpy(TF32.round(a).astype(np.float32)) for a in (x, w)]
    y = torch.nn.functional.conv2d(short[0], short[1], padding=1)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    return model([node], {"x": [1, 256, 8, 8]}, ["y"], {"w": w}), {"x": x, "y": y.numpy()}


@case(
    8,
    "jax-ml/jax#22557",
    "An einsum is inaccurate by default; `highest` mends it.",
    needs=("jax",),
    verdict="coarse",
    tensor="y",
    cause="operands rounded to bfloat16",
)
def default_precision() -> Rebuilt:
    """A projection of 16 heads of 256 numbers to 32; the port is JAX with operands in bfloat16 and sums in
    float32, as a TPU computes by default."""
    import jax.numpy as jnp

    x, w = normal(1, 24, 16, 256), normal(16, 256, 32) / 64
    short = [jnp.asarray(a).astype(jnp.bfloat16) for a in (x, w)]
    y = jnp.einsum("bshd,hdm->bsm", *short, preferred_element_type=jnp.float32)
    node = helper.make_node("Einsum", ["x", "w"], ["y"], equation="bshd,hdm->bsm")
    return model([node], {"x": [1, 24, 16, 256]}, ["y"], {"w": w}), {"x": x, "y": np.asarray(y)}


@case(
    9,
    "apple/coremltools#2110",
    "Right in float32, wrong in float16, though no layer's input or output is beyond 65,504.",
    needs=("torch",),
    verdict="coarse",
    tensor="y",
    cause="overflow in float16",
)
def overflow() -> Rebuilt:
    """RMSNorm of values near 300; the port is PyTorch in float16, step by step, where their squares
    overflow."""
    import torch

    x, scale = (200 * normal(4, 64)).astype(np.float16), np.ones(64, np.float16)
    half = torch.from_numpy(x)
    y = half * torch.rsqrt((half * half).mean(1, keepdim=True) + 1e-5)
    node = helper.make_node("RMSNormalization", ["x", "scale"], ["y"])
    proto = model([node], {"x": [4, 64]}, ["y"], {"scale": scale}, opset=23)
    for one in (*proto.graph.input, *proto.graph.output):
        one.type.tensor_type.elem_type = TensorProto.FLOAT16
    return proto, {"x": x, "y": y.numpy()}
