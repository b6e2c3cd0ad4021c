"""Which NumPy function, method and operator means which operations: attached to the traced arrays at import.

The package is also a drop-in namespace for NumPy, for those who prefer one and for code written for autograd:
`import wengert.numpy as np` gives NumPy's own names, of which `array`, `asarray` and `full` also take traced values.
"""

from typing import Any

import numpy as _numpy

from wengert.numpy import (  # noqa: F401  (each module attaches its part when it is imported)
    applying,
    contract,
    creation,
    indexing,
    joining,
    linear_algebra,
    operators,
    reduce,
    scan,
    selecting,
    shaping,
    sorting,
    ufuncs,
)
from wengert.numpy.namespace import array, asarray, full  # noqa: F401


def __getattr__(name: str) -> Any:
    return getattr(_numpy, name)
