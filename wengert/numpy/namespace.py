"""For `import wengert.numpy as np`: the creation functions that NumPy's protocol cannot bring to us without `like=`."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import TRACED


def array(object: Any, dtype: Any = None, **kwargs: Any) -> Any:
    """`np.array`, which also stacks sequences of traced numbers and arrays.

    >>> import wengert as wg
    >>> wg.grad(lambda x: wg.numpy.sum(wg.numpy.array([x, 2 * x])))(1.0)
    np.float64(3.0)
    """
    return np.array(object, dtype, **like(object), **kwargs)


def asarray(a: Any, dtype: Any = None, **kwargs: Any) -> Any:
    """`np.asarray`, which passes traced arrays and stacks sequences of them."""
    return np.asarray(a, dtype, **like(a), **kwargs)


def full(shape: Any, fill_value: Any, dtype: Any = None, **kwargs: Any) -> Any:
    """`np.full`, which also takes a traced value."""
    return np.full(shape, fill_value, dtype, **like(fill_value), **kwargs)


def like(value: Any) -> dict[str, Any]:
    """The keyword that brings a creation function to us, where there is a traced array in `value`."""
    found = first_traced(value)
    return {} if found is None else {"like": found}


def first_traced(value: Any) -> Any:
    """The first traced array in a nested sequence; None where there is none."""
    if type(value) in TRACED:
        return value
    if isinstance(value, list | tuple):
        return next((found for found in map(first_traced, value) if found is not None), None)
    return None
