"""The variables of the environment that the process of a user's file is given."""

import os
import re
from collections.abc import Iterable

# Variables of libraries that compute, of Python and of the loader. Others may hold passwords.
HARMLESS = re.compile(
    "(COLUMNS|HOME|LANG|LANGUAGE|LOGNAME|NO_COLOR|PATH|PWD|SHELL|TEMP|TERM|TMP|TMPDIR|TZ|USER|VIRTUAL_ENV)$"
    "|(BLIS|CONDA|CUBLAS|CUDA|CUDNN|DNNL|DYLD|GOMP|HIP|HSA|JAX|KERAS|KMP|LC|LD|LENET|MIOPEN|MKL|NCCL|NUMBA)_"
    "|(NUMEXPR|NVIDIA|OMP|ONEDNN|OPENBLAS|OPENCV|OPENVINO|ORT|PJRT|PYTENSOR|PYTORCH|ROCM|TF|THEANO|TPU)_"
    "|(VECLIB|XDG|XLA)_|MPL|PYTHON|TORCH"
)
SECRET = re.compile("TOKEN|SECRET|PASS|KEY|CREDENTIAL|AUTH", re.IGNORECASE)


def environment(asked: Iterable[str] = ()) -> dict[str, str]:
    """The variables that a user's file sees: those of libraries, without secrets, and those asked for."""
    wanted = set(asked)
    return {name: value for name, value in os.environ.items() if name in wanted or _harmless(name)}


def _harmless(name: str) -> bool:
    return HARMLESS.match(name) is not None and not SECRET.search(name)
