"""Which NumPy function, method and operator means which operations: attached to the traced arrays at import."""

import importlib
import os

_here = os.path.dirname(__file__)
for _name in ("ufuncs", "operators", "shaping", "indexing", "reduce", "contract", "linalg", "joining", "sorting", "creation"):  # TEMPORARY while the families are written
    if os.path.exists(os.path.join(_here, _name + ".py")):
        importlib.import_module("wengert.numpy." + _name)
