"""The precisions that a candidate may compute in: what their numbers round by, and the smallest of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import ml_dtypes
import numpy as np


@dataclasses.dataclass(frozen=True)
class Precision:
    """``eps``: the distance from 1 to the next number, twice the unit roundoff; ``tiny``: the smallest normal number."""

    name: str
    eps: float
    tiny: float


# No dtype: arrays are float32, and the factors of products are rounded to 10 bits. NVIDIA, "Accelerating AI Training with NVIDIA TF32
# Tensor Cores"; a computation that rounds nothing else keeps well within what is allowed one that rounds everything so
TF32 = Precision("tf32", 2.0**-10, float(np.finfo(np.float32).tiny))


def precision_of(given: Any) -> Precision:
    """Of a dtype, its name, or "tf32"."""
    if isinstance(given, Precision):
        return given
    if isinstance(given, str) and given == TF32.name:
        return TF32
    dtype = np.dtype(given)  # bfloat16 by its name as well, once ml_dtypes is imported
    about = ml_dtypes.finfo(dtype)
    return Precision(dtype.name, float(about.eps), float(about.tiny))
