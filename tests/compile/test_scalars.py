"""Scalar code against NumPy: every primitive at every dtype, in a vectorised loop and one element at a time.

What NumPy computes by IEEE arithmetic has to have the same bits, with the same NaN, infinities and signs of zeros. The
transcendental functions have the same special values, and elsewhere lie within the stated units in the last place.
"""

import re

import mpmath
import numpy as np
import pytest

from tests.compile.scalar_kernels import BOOL, DTYPES, Case, cases_of, compiled, loop, run, values
from wengert.avals import Aval
from wengert.compile.machine import engine, scalars
from wengert.compile.machine.code import Code, Module, literal
from wengert.compile.machine.scalars.maths import SLOW
from wengert.compile.machine.scalars.rules import RULES
from wengert.core import REGISTRY

pytestmark = pytest.mark.skipif(engine.unavailable() is not None, reason=str(engine.unavailable()))

# Units in the last place between NumPy's answer and ours, each of which may be wrong by some; 0 for all others
REAL = {
    **dict.fromkeys(("exp2", "sinh", "cosh", "arcsin", "arccos", "arctan", "arctanh", "arcsinh", "arccosh"), 2),
    **dict.fromkeys(("log2", "log10", "hypot", "power", "float_power", "expm1", "log1p", "tanh"), 2),
    **dict.fromkeys(("exp", "log", "sin", "cos", "tan", "sinc", "cbrt", "arctan2", "unit"), 4),
    **dict.fromkeys(("logistic", "logistic2", "sech_squared", "logaddexp", "logaddexp2"), 4),
}
# The same for the length of the difference of complex numbers, in units of the last place of the length of the answer
COMPLEX = {
    **dict.fromkeys(("multiply", "square", "scale", "both", "one_minus_square", "absolute_complex"), 2),
    **dict.fromkeys(("divide", "reciprocal", "sign_complex", "absolute", "sign"), 2),
    **dict.fromkeys(("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "sinh"), 4),
    **dict.fromkeys(("cosh", "tanh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "sech_squared"), 4),
    **dict.fromkeys(("power", "float_power"), 4),
}
# Where terms cancel, errors are measured against the terms: the larger argument, and 1
CANCELLING = {"logaddexp", "logaddexp2", ("expm1", "c"), ("log1p", "c")}
# What falls to Python: NumPy's own error for negative powers; integers that are negated before they become floats;
# functions of complex numbers that nothing differentiates into; what NumPy computes in float16
LEFT_OUT = {("power", "b"), ("power", "i"), ("gap", "c"), ("sinc", "c")} | {
    (name, kind) for name, kinds in (("logistic", "biuc"), ("logistic2", "biuc"), ("signbit", "biu")) for kind in kinds
}
NAMES = sorted({name for name, _ in RULES})


def ulps(case, got, want):
    """Which elements differ by more than is allowed."""
    name, kind = case.primitive.name, case.ins[-1].kind
    if want.dtype.kind not in "fc":
        return got != want
    complex_ = "c" in (kind, want.dtype.kind)
    allowed = (COMPLEX if complex_ else REAL).get(name, 0)
    pairs = [(got.real, want.real), (got.imag, want.imag)] if want.dtype.kind == "c" else [(got, want)]
    lengths = [np.where(np.isfinite(w), w, 0) for _, w in pairs]
    with np.errstate(all="ignore"):
        size = np.abs(lengths[0]) if len(lengths) == 1 else np.hypot(*lengths)
        if name in CANCELLING or (name, kind) in CANCELLING:
            terms = [np.where(np.isfinite(a), np.abs(a), 0) for a in case.arrays]
            size = np.maximum.reduce([size, *terms, np.ones_like(size)])
        unit = np.spacing(size.astype(pairs[0][0].dtype))
        wrong = np.zeros(want.shape, bool)
        for g, w in pairs:
            same = (np.isnan(g) & np.isnan(w)) | ((g == w) & (np.signbit(g) == np.signbit(w)))
            close = np.isfinite(g) & np.isfinite(w) & (np.abs(g - w) <= allowed * unit)
            if not complex_ and name not in CANCELLING:
                close &= (g != 0) & (w != 0) | (np.abs(g - w) > 0)
            wrong |= ~(same | close)
    return wrong


def defined(case):
    """Where NumPy's answer has a meaning: not the cast to an integer of what does not fit it."""
    name, into = case.primitive.name, case.want[0].dtype
    x = case.arrays[0]
    if name == "reciprocal" and into.kind in "iu":
        return x != 0
    if name in ("cast", "as_discrete") and into.kind in "iu" and x.dtype.kind in "fc":
        info = np.iinfo(into)
        with np.errstate(all="ignore"):
            whole = np.trunc(x.real.astype(np.longdouble))
            return (whole >= info.min) & (whole <= info.max)
    if name == "round" and into.kind in "iu" and case.params["decimals"] < 0:
        return np.abs(x.astype(np.float64)) < float(np.iinfo(into).max)
    return np.ones(x.shape, bool)


def answers(case):
    """NumPy's, and a better one where NumPy's is rough, or depends on the other elements of the array."""
    name, dtype = case.primitive.name, case.ins[0]
    with np.errstate(all="ignore"):
        if name == "scale":  # one element at a time, as NumPy scalars do: no NaN elsewhere changes the sign of a zero
            ct, p = (a.astype(case.want[0].dtype) for a in case.args)
            return [np.where((ct == 0) & np.isnan(ct * p), np.zeros((), ct.dtype), ct * p)]
        if name == "power" and dtype == np.complex64:
            return [np.power(*(np.asarray(a, np.complex128) for a in case.args)).astype(np.complex64)]
    return case.want


def complaints(case, gots, start=0, stop=None):
    for got, want in zip(gots, answers(case), strict=True):
        want = want[start:stop]
        part = Case.__new__(Case)
        part.__dict__.update(case.__dict__, arrays=[a[start:stop] for a in case.arrays])
        for k in np.flatnonzero(ulps(part, got, want) & defined(part))[:3]:
            yield f"{case} at {tuple(a[start + k] for a in case.arrays)}: {got[k]!r}, NumPy {want[k]!r}"


def check(cases, libmvec=None):
    module = compiled(cases, libmvec)
    wrong = []
    for k, case in enumerate(cases):
        wrong += complaints(case, case.run(module, f"k{k}"))
        size = case.arrays[0].size
        for j in range(0, size, 1 + size // 40):
            wrong += complaints(case, case.run(module, f"k{k}", j, j + 1), j, j + 1)
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("name", NAMES)
def test_every_dtype(name):
    cases = cases_of(name)
    assert cases
    native = [case for case in cases if case.supported()]
    left = {(name, case.ins[-1].kind) for case in cases if case not in native}
    assert left <= LEFT_OUT
    check(native)


# ------------------------------------------------------------------------------------------------ without libmvec

OWN = ["exp", "expm1", "log", "log1p", "tanh", "logistic", "sech_squared", "logaddexp", "sin", "power", "hypot"]


def test_without_libmvec():
    check([case for name in OWN for case in cases_of(name) if case.supported() and case.ins[0].kind == "f"], {})


# -------------------------------------------------------------------------------------------------------- accuracy

RANGES = {
    "exp": [(-1, 1), (-700, 700)], "expm1": [(-1e-3, 1e-3), (-2, 2), (-40, 700)], "log": [(0, 2), (0, 1e10)],
    "log1p": [(-1e-3, 1e-3), (-0.9, 3), (0, 1e10)], "tanh": [(-1e-3, 1e-3), (-2, 2), (-20, 20)],
    "sin": [(-4, 4), (-1e5, 1e5)], "cos": [(-4, 4), (-1e5, 1e5)], "logistic": [(-5, 5), (-700, 40)],
    "sech_squared": [(-2, 2), (-300, 300)],
}  # fmt: skip
TRUTH = {
    "logistic": lambda x: 1 / (1 + mpmath.exp(-x)),
    "sech_squared": lambda x: mpmath.sech(x) ** 2,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "expm1": mpmath.expm1,
}


@pytest.mark.parametrize("libmvec", [None, {}], ids=["libmvec", "own"])
def test_within_four_units_of_the_truth(libmvec, rng):
    cases, points = [], []
    for name, ranges in RANGES.items():
        case = Case(REGISTRY[name], (np.dtype(np.float64),))
        x = np.concatenate([rng.uniform(low, high, 160) for low, high in ranges])
        cases.append(case)
        points.append(x)
    module = compiled(cases, libmvec)
    with mpmath.workprec(160):
        for k, (case, x) in enumerate(zip(cases, points, strict=True)):
            got = np.empty_like(x)
            run(module, f"k{k}", [x, got], x.size)
            name = case.primitive.name
            truth = [TRUTH.get(name, getattr(mpmath, name, None))(mpmath.mpf(float(point))) for point in x]
            error = [
                float(abs(mpmath.mpf(float(g)) - t)) / np.spacing(abs(float(t)))
                for g, t in zip(got, truth, strict=True)
            ]
            assert max(error) <= 4, f"{name} at {x[np.argmax(error)]}: {max(error)} ulp"


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def test_remainders_of_near_multiples(rng):
    """x/y is rounded up to an integer that x does not reach, or not: the remainder is exact all the same."""
    names = ("fmod", "remainder", "floor_divide")
    cases = [Case(REGISTRY[name], (np.dtype(np.float64),) * 2) for name in names]
    module = compiled(cases)
    y = rng.uniform(-2, 2, 20_000) * 10.0 ** rng.integers(-5, 5, 20_000)
    for largest in (1e3, 1e9, 1e15, 1e25):
        multiple = y * np.rint(rng.uniform(-largest, largest, y.size))
        for x in (multiple, np.nextafter(multiple, np.inf), np.nextafter(multiple, -np.inf)):
            for k, name in enumerate(names):
                got = np.empty_like(x)
                run(module, f"k{k}", [x, y, got], x.size)
                np.testing.assert_array_equal(got, getattr(np, name)(x, y))


# -------------------------------------------------------------------------------------------- mixed and weak dtypes

MIXED = ["iif", "Lld", "?bb", "fdd", "dFD", "BbB", "Bff", "lfd"]


def test_mixed_dtypes():
    pairs = [(np.dtype(a), np.dtype(b)) for a, b, _ in MIXED]
    cases = [
        Case(REGISTRY[name], pair if not flip else pair[::-1])
        for name in ("add", "multiply", "less", "equal", "greater_equal", "maximum", "logical_and")
        for pair in pairs
        for flip in (False, True)
    ]
    assert all(case.supported() for case in cases)
    check(cases)


def test_python_numbers_take_the_other_dtype():
    numbers = {"f": (2, 2.5, -1, True), "d": (3, 0.1), "B": (3, 0.5), "i": (-7, 1e3), "F": (2, 0.5, 1j), "?": (3,)}
    cases = [
        Case(REGISTRY[name], operands if slot else operands[::-1], numbers={slot: number})
        for name in ("add", "multiply", "equal")
        for code, constants in numbers.items()
        for number in constants
        for slot in (0, 1)
        for operands in [(np.dtype(code), np.asarray(number).dtype)]
    ]
    assert all(case.supported() for case in cases)
    check(cases)


def test_comparison_with_a_python_integer_out_of_range():
    cases = [
        Case(REGISTRY[name], (np.dtype(code), np.dtype(np.int64)), numbers={1: number})
        for name in ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
        for code in "bBIL"
        for number in (-1, 3, 300, 2**40)
    ]
    check(cases)


@pytest.mark.parametrize("code", "fdFD")
def test_constant_powers(code):
    exponents = (-2, -1, 0, 1, 2, 3, 4, 0.5, 1.5, 7)
    numbers = [power for k in exponents for power in ((k, float(k)) if k == int(k) else (k,))]
    dtype = np.dtype(code)
    cases = [
        Case(REGISTRY["power"], (dtype, np.asarray(number).dtype), numbers={1: number})
        for number in numbers
        if code != "F" or abs(number) < 4
    ]
    assert all(case.supported() for case in cases)
    check(cases)


# ------------------------------------------------------------------------------------------------------- reductions

FOLDS = {
    "add": "biufc", "multiply": "biufc", "maximum": "biufc", "minimum": "biufc", "fmax": "biufc", "fmin": "biufc",
    "logical_and": "biufc", "logical_or": "biufc", "bitwise_and": "biu", "bitwise_or": "biu", "bitwise_xor": "biu",
}  # fmt: skip


def folds():
    for name, kinds in FOLDS.items():
        for dtype in DTYPES:
            if dtype.kind in kinds:
                yield name, dtype


def test_folds_from_the_neutral_element(rng):
    module = Module(engine.libmvec())
    cases = list(folds())
    for k, (name, dtype) in enumerate(cases):

        def body(code, pointer, name=name, dtype=dtype):
            total = code.op(f"getelementptr i8, ptr {pointer(0, dtype)}, i64 0")  # the first argument does not move
            code.lines.pop()
            code.lines.pop()
            total = "%p0"
            new = scalars.combine(code, name, code.load(total, dtype), code.load(pointer(1, dtype), dtype), dtype)
            code.store(total, new, dtype)

        loop(module, f"k{k}", 2, body)
    native = engine.compile(module.text())
    for k, (name, dtype) in enumerate(cases):
        for x in samples(dtype, rng):
            total = np.full(1, scalars.identity(name, dtype), dtype)
            run(native, f"k{k}", [total, x], x.size)
            with np.errstate(all="ignore"):
                want = getattr(np, name).accumulate(x.astype(bool) if name.startswith("logical") else x)[-1]
            assert np.array_equal(total[0], dtype.type(want), equal_nan=dtype.kind in "fc"), (name, dtype, x)


def samples(dtype, rng):
    with np.errstate(all="ignore"):
        yield rng.uniform(-3, 3, 37).astype(dtype) if dtype.kind != "u" else rng.integers(0, 9, 37).astype(dtype)
    points = values(dtype)
    if dtype.kind == "c":
        points = points[np.isfinite(points)]
    yield points[~np.isnan(points)] if dtype.kind == "f" else points
    if dtype.kind == "f":
        yield np.array([1, np.nan, 2], dtype)


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum"])
def test_reassociated_folds_vectorise(name, rng):
    module = Module()
    dtype = np.dtype(np.float64)

    code = Code(module)
    code.line("br label %loop")
    code.label("loop")
    code.line("%i = phi i64 [ 0, %entry ], [ %next, %loop ]")
    start = literal(scalars.identity(name, dtype), dtype)
    code.line(f"%sum = phi double [ {start}, %entry ], [ %new, %loop ]")
    pointer = code.op("getelementptr double, ptr %p1, i64 %i")
    new = scalars.combine(code, name, "%sum", code.load(pointer, dtype), dtype, reassoc=True)
    code.line(f"%new = select i1 true, double {new}, double {new}")
    code.line("%next = add nuw i64 %i, 1")
    code.line("%more = icmp ult i64 %next, %n")
    code.line("br i1 %more, label %loop, label %done")
    code.label("done")
    code.line("store double %new, ptr %p0")
    code.line("ret void")
    code.define("void @fold(ptr noalias %p0, ptr noalias %p1, i64 %n)")
    native = engine.compile(module.text())
    x, out = rng.uniform(0.9, 1.1, 1003), np.empty(1)
    for x[500] in (1.0, np.inf, np.nan):
        run(native, "fold", [out, x], x.size)
        np.testing.assert_allclose(out[0], getattr(np, name).reduce(x), rtol=1e-13)
    instruction = {"add": "add", "multiply": "mul"}.get(name, name[-3:] if name[0] == "f" else name[:3])
    assert re.search(rf"v?{instruction}pd|f{instruction}(nm)?\s+v\d", native.assembly())


# --------------------------------------------------------------------------------------------------- vectorisation


@pytest.mark.parametrize("name", ["exp", "log", "sin", "tanh", "log1p", "power"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_loops_call_the_vector_library(name, dtype):
    symbol = {"power": "pow"}.get(name, name) + ("f" if dtype == np.float32 else "")
    variants = engine.libmvec().get(symbol)
    if not variants or symbol in SLOW:
        pytest.skip("no libmvec with this function, or one that is slower than ours")
    case = Case(REGISTRY[name], (np.dtype(dtype),) * REGISTRY[name].value.nin)
    assert variants[0] in compiled([case]).assembly()


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "tanh", "sech_squared"])
def test_own_functions_are_inlined_and_vectorised(name):
    case = Case(REGISTRY[name], (np.dtype(np.float64),))
    assembly = compiled([case], {}).assembly()
    assert not re.search(r"\b(call|bl|blr)\b", assembly)
    assert re.search(r"\b[xyz]mm\d+|\bv\d+\.2d", assembly)
    assert re.search(r"v?mulpd|fmul\s+v\d|vfn?m[a-z]+\d+pd|fmla", assembly)


# ---------------------------------------------------------------------------------------------------------- the rest


def test_what_is_not_elementwise_is_not_supported():
    aval = Aval((), np.dtype(np.float64))
    for name in ("reshape", "sum", "matmul", "getitem"):
        assert not scalars.supported(REGISTRY[name], {}, (aval,), aval)


def test_foreign_dtypes_are_not_supported():
    for dtype in (np.dtype(np.float16), np.dtype(np.longdouble), np.dtype(np.float64).newbyteorder()):
        aval = Aval((), dtype)
        assert not scalars.supported(REGISTRY["add"], {}, (aval, aval), aval)


def test_equal_programs_give_equal_text():
    texts = []
    for _ in range(2):
        module = Module(engine.libmvec())
        for k, name in enumerate(("exp", "remainder", "logaddexp", "exp")):
            primitive = REGISTRY[name]
            Case(primitive, (np.dtype(np.float64),) * primitive.value.nin).define(module, f"k{k}")
        texts.append(module.text())
    assert texts[0] == texts[1]
    assert texts[0].count("define internal double @wg_remainder") == 1


def test_dear_functions_cost_more_than_cheap_ones():
    cost = {name: scalars.cost(REGISTRY[name]) for name in NAMES}
    assert 0 <= cost["cast"] < cost["add"] < cost["divide"] < cost["exp"] < cost["power"]


def test_what_has_no_neutral_element():
    with pytest.raises(ValueError, match="no neutral element"):
        scalars.identity("subtract", BOOL)
