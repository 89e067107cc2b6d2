"""Bugs of precision: a computation with fewer or more bits than the port claims."""

import numpy as np

from workshop.bugs.gallery import bug, issue

CONV = "lenet_numpy.model.conv2d"


def cut(x: np.ndarray, bits: int) -> np.ndarray:
    """Float32 values rounded to `bits` significant bits, to nearest, ties to even."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(np.float32)


@bug(
    "TF32 by default",
    "numpy",
    CONV,
    story="By default, a GPU's tensor cores round the operands of a convolution to 11 bits.",
    where="conv1",
    named="operands rounded to TF32",
    case=issue("pytorch/pytorch", 107514),
)
def tf32_by_default(right, x, w, b, **geometry):
    return right(cut(x, 11), cut(w, 11), b, **geometry)


@bug(
    "autocast",
    "torch",
    "lenet_torch.port.activations",
    story="`torch.autocast` was left on during the evaluation, so layers run in bfloat16.",
    where="conv1",
    named="products in bfloat16, added up in float32 (half precision, autocast)",
)
def autocast(right, model, images):
    import torch

    with torch.autocast("cpu", dtype=torch.bfloat16):
        return {name: y.float() for name, y in right(model, images).items()}


@bug(
    "mixed precision in Keras",
    "tf",
    "lenet_tf.model.layers.Dense",
    story='The dense layers use the policy "mixed_bfloat16".',
    where="fc1",
    named="operands, product and result rounded to bfloat16",
)
def keras_mixed_precision(right, units, **options):
    return right(units, **options | {"dtype": "mixed_bfloat16"})


@bug(
    "bfloat16 by cutting",
    "numpy",
    "lenet_numpy.weights.to_framework",
    story="Weights were stored in bfloat16 by dropping the lower two bytes.",
    where="conv1",
    named="weights cut off to bfloat16",
)
def bfloat16_by_cutting(right, name, array):
    bits = array.view(np.uint32) & np.uint32(0xFFFF0000) if name.endswith("weight") else array
    return right(name, bits.view(np.float32))


@bug(
    "a checkpoint in half precision",
    "torch",
    "lenet_torch.weights.to_framework",
    story="The weights were saved as float16 to halve the file, and loaded into a float32 model.",
    where="conv1",
    named="weights rounded to float16",
)
def half_precision_checkpoint(right, name, array):
    value = right(name, array)
    return value.half().float() if name.endswith("weight") else value


@bug(
    "NumPy's float64",
    "numpy",
    CONV,
    story="The bias was created without a dtype, so it is float64, and so is every sum with it.",
    where="conv1",
    named="float64 where float32 was meant",
    case=issue("geomstats/geomstats", 775),
)
def numpy_float64(right, x, w, b, **geometry):
    return right(x, w, b.astype(np.float64), **geometry)


@bug(
    "float32 inside a float64 port",
    "numpy",
    "lenet_numpy.model.linear",
    story="A cast to float32, once added for speed, was forgotten in a float64 reference.",
    where="fc1",
    named="float32 in a float64 port",
    dtype="float64",
)
def float32_in_float64(right, x, w, b):
    y, _ = right(*(a.astype(np.float32) for a in (x, w, b)))
    return y.astype(np.float64), (x, w)
