"""Sets the number of threads of the frameworks, which must be done before they are imported."""

import os

# Each library reads its variable when it is imported, so this module must not import any.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "PJRT_NPROC",
    "OPENCV_FOR_THREADS_NUM",
)

# Frameworks that train in lockstep: at the same time, or in turn while the threads of the others spin.
TRAINED = 6


def share_cores(among: int) -> None:
    """Give each of `among` frameworks an equal share of the cores, unless the environment says otherwise."""
    for variable in THREADS:
        os.environ.setdefault(variable, str(max(1, (os.cpu_count() or 1) // among)))
