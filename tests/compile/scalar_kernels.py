"""Loops over scalar code: what the tests of `machine.scalars` compile, and the points at which they look."""

import ctypes
import warnings

import numpy as np

from wengert.avals import Aval
from wengert.compile.machine import engine, scalars
from wengert.compile.machine.code import Code, Module, literal, memory_type, representable
from wengert.core import REGISTRY

DTYPES = [np.dtype(code) for code in "?bhilBHILfdFD"]
BOOL = np.dtype(bool)
PARAMS = {"copy": [{"order": "K"}], "round": [{"decimals": k} for k in (0, 2, -1)]}


class Case:
    """One primitive on operands of these dtypes: arguments, NumPy's answer, and the loop that is to give the same.

    An operand in `numbers` (slot → Python number) is weak, and stands as a constant in the code.
    """

    def __init__(self, primitive, ins, params=None, numbers=None):
        self.primitive, self.ins, self.params = primitive, ins, params or {}
        self.numbers = numbers or {}
        grids = [values(dtype) for k, dtype in enumerate(ins) if k not in self.numbers]
        columns = iter([a.ravel().copy() for a in np.meshgrid(*grids, indexing="ij")])
        self.args = [self.numbers[k] if k in self.numbers else next(columns) for k in range(len(ins))]
        self.arrays = [a for a in self.args if isinstance(a, np.ndarray)]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = primitive.value(*self.args, **self.params)
        self.want = [np.asarray(one) for one in (found if primitive.multiple else (found,))]
        self.outs = tuple(Aval((), one.dtype) for one in self.want)
        self.avals = tuple(Aval((), dtype, k in self.numbers) for k, dtype in enumerate(ins))
        self.got = []

    def __repr__(self):
        return f"{self.primitive.name}({', '.join(map(str, self.ins))}; {self.params or self.numbers})"

    @property
    def out(self):
        return self.outs if self.primitive.multiple else self.outs[0]

    def supported(self):
        return scalars.supported(self.primitive, self.params, self.avals, self.out)

    def define(self, module, name):
        def body(code, pointer):
            args, arrays = [], 0
            for k, dtype in enumerate(self.ins):
                if k in self.numbers:
                    args.append(literal(self.numbers[k], dtype))
                else:
                    args.append(code.load(pointer(arrays, dtype), dtype))
                    arrays += 1
            found = scalars.lower(code, self.primitive, self.params, args, self.avals, self.out)
            for k, (register, aval) in enumerate(zip(found if len(self.outs) > 1 else [found], self.outs, strict=True)):
                code.store(pointer(arrays + k, aval.dtype), register, aval.dtype)

        loop(module, name, len(self.arrays) + len(self.outs), body)

    def run(self, module, name, start=0, stop=None):
        """The results on elements start … stop."""
        arrays = [a[start:stop] for a in self.arrays]
        outs = [np.empty(arrays[0].shape, aval.dtype) for aval in self.outs]
        run(module, name, [*arrays, *outs], arrays[0].size)
        return outs


def loop(module, name, pointers, body):
    """A function of pointers and a length that does `body(code, pointer)` for each index."""
    code = Code(module)
    code.line("br label %loop")
    code.label("loop")
    code.line("%i = phi i64 [ 0, %entry ], [ %next, %loop ]")
    body(code, lambda k, dtype: code.op(f"getelementptr {memory_type(dtype)}, ptr %p{k}, i64 %i"))
    code.line("%next = add nuw i64 %i, 1")
    more = code.op("icmp ult i64 %next, %n")
    code.line(f"br i1 {more}, label %loop, label %done")
    code.label("done")
    code.line("ret void")
    code.define(f"void @{name}({', '.join(f'ptr noalias %p{k}' for k in range(pointers))}, i64 %n)")


def run(module, name, arrays, length):
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays), ctypes.c_int64)
    kind(module.address(name))(*[a.ctypes.data for a in arrays], length)


def compiled(cases, libmvec=None):
    """One module with a loop `k0`, `k1`, … for each case."""
    module = Module(engine.libmvec() if libmvec is None else libmvec)
    for k, case in enumerate(cases):
        case.define(module, f"k{k}")
    return engine.compile(module.text())


def cases_of(name):
    """A primitive at every dtype that NumPy and native code have for it."""
    primitive = REGISTRY[name]
    found = []
    for dtype in DTYPES:
        for ins, params in combinations(primitive, dtype):
            try:
                case = Case(primitive, ins, params)
            except (TypeError, ValueError, OverflowError):  # NumPy refuses this dtype, or negative powers
                continue
            if all(representable(one.dtype) for one in case.want):
                found.append(case)
    return found


def combinations(primitive, dtype):
    name = primitive.name
    if name == "cast":
        return [((dtype,), {"dtype": other}) for other in DTYPES]
    if name == "as_discrete":
        return [((dtype,), {"dtype": np.dtype(code)}) for code in "?bL"]
    if name == "where":
        return (
            [((BOOL, dtype, dtype), {}), ((dtype, BOOL, dtype), {})]
            if dtype.kind != "c"
            else [((BOOL,) + (dtype,) * 2, {})]
        )
    if name == "ldexp":
        return [((dtype, np.dtype(code)), {}) for code in "il"]
    if "complex-only" in primitive.tags and dtype.kind != "c":
        return []
    arity = len(getattr(primitive, "slots", None) or "x" * getattr(primitive.value, "nin", 1))
    return [((dtype,) * arity, params) for params in PARAMS.get(name, [{}])]


def values(dtype):
    """The points at which a dtype is likely to go wrong."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        points = [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 100, info.max, info.max - 1]
        points += [info.min, info.min + 1, -1, -2, -3, -5, -8, -64]
        return np.unique(np.array([k for k in points if info.min <= k <= info.max], dtype))
    if dtype.kind == "f":
        info = np.finfo(dtype)
        points = [np.inf, 0.0, info.smallest_subnormal, info.tiny / 3, info.tiny, info.max, info.max / 3, info.eps]
        points += [1, 0.5, 2, 3, 1 + info.eps, 1 - info.epsneg, 1.5, 2.5, 0.1, 0.3, 0.77, 1e-5, 10, 1e10, 7.25, 1e5]
        points += [21.3, 88.5, 127.9, 709, 100]
        return np.array([np.nan, *points, *(-point for point in points)], dtype)
    points = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 0.5, 2, -3, 1e-3, 1e5, 0.3], dtype.char.lower())
    return np.array([complex(re, im) for re in points for im in points], dtype)
