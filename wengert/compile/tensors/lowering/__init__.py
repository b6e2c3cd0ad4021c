"""Lowering: each line of a Wengert list to nodes of the tensor form. One file per family, as in `ops/`."""

from wengert.compile.tensors.lowering import (  # noqa: F401  (fill the table)
    control,
    convolution,
    elementwise,
    indexing,
    linalg,
    products,
    reductions,
    scans,
    searching,
    statistics,
    views,
)
from wengert.compile.tensors.lowering.context import lower

__all__ = ["lower"]
