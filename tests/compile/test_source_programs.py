"""Whole programs through the NumPy back end: work arrays, ownership, threads, guards, names, standing alone."""

import gc
import linecache
import subprocess
import sys
import threading
import traceback
import weakref

import numpy as np
import pytest

import wengert as wg
from tests.compile.test_random_programs import Readings, drawn
from tests.compile.test_source import bits, check, expected_of
from tests.oracles import programs as programs_of_peers
from tests.oracles.peers import Peer
from tests.oracles.programs import CONSTANTS, mixed
from wengert import core
from wengert.compile import passes, source
from wengert.compile.source import reuse
from wengert.core import REGISTRY, Primitive
from wengert.ops.vector import scale
from wengert.testing import cases

N = 3000  # elements: enough for work arrays


def chain(x, y):
    z = np.tanh(x) * np.exp(-(y**2)) + np.where(x > 0, x, 0.0)
    return np.sum(np.log1p(z**2) * np.sin(x + z) / (1 + np.abs(y)))


def network(w, v, x):
    h = np.tanh(x @ w)
    return np.mean((h @ v - x[:, :5]) ** 2) + np.max(h.T @ h)


def views(x):
    a = np.sin(x)
    b = a.reshape(50, -1).T[::-1]
    c = np.cos(b) * b
    d = c[2:, 1:] + np.broadcast_to(c[:1, 1:], c[2:, 1:].shape)
    return np.sum(d * d) + np.sum(a), a, b, a


PROGRAMS = {
    "chain": (wg.grad(chain, (0, 1)), lambda rng: (rng.normal(size=N), rng.normal(size=N))),
    "chain, float32": (
        wg.value_and_grad(chain),
        lambda rng: (rng.normal(size=N).astype(np.float32), rng.normal(size=N).astype(np.float32)),
    ),
    "network": (
        wg.grad(network, (0, 1)),
        lambda rng: (rng.normal(size=(40, 30)), rng.normal(size=(30, 5)), rng.normal(size=(64, 40))),
    ),
    "views": (lambda x: list(views(x)), lambda rng: (rng.normal(size=N),)),
    "gradient of views": (wg.grad(lambda x: views(x)[0]), lambda rng: (rng.normal(size=N),)),
    "batch": (
        wg.vmap(wg.grad(lambda x: np.sum(np.exp(x) / np.sum(np.exp(x), axis=-1)))),
        lambda rng: (rng.normal(size=(60, 50)),),
    ),
    "hessian": (
        wg.hessian(lambda x: np.sum(x**3 * np.roll(x, 1)) + np.prod(x)),
        lambda rng: (rng.normal(size=30),),
    ),
    "linear algebra": (
        wg.grad(lambda a: np.linalg.slogdet(a @ a.T + np.eye(40))[1] + np.sum(np.linalg.solve(a, a[0]))),
        lambda rng: (rng.normal(size=(40, 40)),),
    ),
    "orders": (
        lambda x: [
            np.sum(np.exp(x.T) * 1.5),
            np.sum(np.exp(x.T) * 1.5, axis=0),
            np.sum(np.sin(x[::2].T + x[1::2].T)),
            np.sum(np.exp(np.sin(np.transpose(x.reshape(8, 9, 90), (1, 2, 0)))), axis=(0, 2)),
        ],
        lambda rng: (rng.normal(size=(72, 90)),),
    ),
    "scalars": (wg.grad(lambda x: np.log(np.sin(x**2) + np.exp(x)) / (1 + x)), lambda rng: (1.5,)),
    "complex": (
        wg.grad(lambda z: np.sum(np.abs(np.fft.ifft(np.exp(z)) if False else np.exp(z) * np.conj(z)))),
        lambda rng: (rng.normal(size=N) + 1j * rng.normal(size=N),),
    ),
    "indexing": (
        wg.grad(lambda x: np.sum(np.sort(x)[::3] ** 2) + np.sum(x[np.array([1, 5, 5, 0])] * x[-4:]) + x[7]),
        lambda rng: (rng.normal(size=N),),
    ),
}


@pytest.fixture(params=PROGRAMS, scope="module")
def example(request):
    function, draw = PROGRAMS[request.param]
    args = draw(np.random.default_rng(1))
    return wg.trace(function)(*args), args, draw


def test_programs_agree_to_the_bit(example):
    listing, args, draw = example
    check(listing, args)
    run = source.compile(listing)
    for seed in (2, 3):
        leaves = draw(np.random.default_rng(seed))
        assert list(map(bits, run(leaves))) == list(map(bits, expected_of(listing, leaves)))


def test_special_values_agree_to_the_bit(example):
    """Strong zeros included: work arrays must not change what is masked."""
    listing, args, _ = example
    rng = np.random.default_rng(4)
    specials = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, 1e300])
    leaves = []
    for x in args:
        if np.ndim(x):
            x = x.copy()
            flat = x.reshape(-1)[:: 3 + x.size // 50]
            with np.errstate(all="ignore"):
                flat[...] = rng.choice(specials, flat.shape)
        leaves.append(x)
    with np.errstate(all="ignore"):
        try:
            want = expected_of(listing, leaves)
        except np.linalg.LinAlgError:
            with pytest.raises(np.linalg.LinAlgError):
                source.compile(listing)(leaves)
            return
        got = source.compile(listing)(leaves)
        assert list(map(bits, map(one_nan, got))) == list(map(bits, map(one_nan, want)))


def one_nan(value):
    """NaNs with one sign: which operand's NaN an operation passes on depends on the memory that it runs over."""
    parts = value.view(value.real.dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "c" else value
    return np.where(np.isnan(parts), np.nan, parts).astype(parts.dtype)


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "misaligned": lambda x: np.frombuffer(b"." + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_the_arguments(example, layout):
    listing, args, _ = example
    leaves = [LAYOUTS[layout](x) if np.ndim(x) else x for x in args]
    run = source.compile(listing)
    run(args)
    got, want = run(leaves), expected_of(listing, leaves)
    assert list(map(bits, got)) == list(map(bits, want))
    run(args)


def test_results_belong_to_the_caller(example):
    listing, args, draw = example
    run = source.compile(listing)
    before = [np.array(x) for x in args]
    first = run(args)
    kept = [np.array(y) for y in first]
    for seed in range(3):
        run(draw(np.random.default_rng(seed + 10)))
    assert list(map(bits, kept)) == list(map(bits, map(np.asarray, first)))  # no later call wrote into them
    arrays = [y for y in first if isinstance(y, np.ndarray)]
    constants = [value for _, value in listing.constants if isinstance(value, np.ndarray)]
    for k, y in enumerate(arrays):
        assert y.flags.owndata and y.flags.writeable
        for other in (*arrays[:k], *(x for x in args if isinstance(x, np.ndarray)), *constants):
            assert not np.may_share_memory(y, other)
        y[...] = 0
    assert list(map(bits, run(args))) == list(map(bits, kept)) or any(not isinstance(y, np.ndarray) for y in first)
    assert [np.asarray(x).tobytes() for x in args] == [x.tobytes() for x in before]


def test_a_factor_that_is_a_view_of_the_other_is_not_overwritten():
    listing = wg.trace(lambda x: np.exp(scale((y := x * 1.0)[::-1], y)))(np.ones(N))
    x = np.zeros(N)
    x[::3] = np.inf
    x[1::7] = np.nan
    with np.errstate(all="ignore"):
        (got,), (want,) = source.compile(listing)([x]), expected_of(listing, [x])
    np.testing.assert_array_equal(got, want)
    assert np.sum(want == 1) > N // 4  # e⁰, where a zero met an infinity


def test_work_arrays_are_used_and_reused():
    x = np.linspace(0, 1, N)
    listing = wg.trace(wg.grad(chain))(x, x)
    plan = reuse.plan(listing)
    assert len(plan.specs) <= 8 < len(plan.target)
    text = source.generate(listing)
    assert text.count("out=b") == len(plan.target)
    small = source.generate(wg.trace(wg.grad(chain))(x[:10], x[:10]))
    assert "out=" not in small and "_take" not in small


def test_memory_does_not_grow_with_the_length_of_a_program():
    import tracemalloc

    def long(x):
        for _ in range(60):
            x = np.where(x > 0.1, np.sin(x), x) * 1.01
        return x

    x = np.linspace(0, 1, 100_000)
    run = source.compile(wg.trace(long)(x))
    run([x])
    tracemalloc.start()
    run([x])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * x.nbytes


def test_threads_do_not_share_work_arrays():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20_000))
    listing = wg.trace(wg.grad(chain))(x, y)
    run = source.compile(listing)
    inputs = [(x * k, y + k) for k in range(8)]
    wanted = [bits(expected_of(listing, leaves)[0]) for leaves in inputs]
    wrong = []

    def work(k):
        for _ in range(40):
            if bits(run(inputs[k])[0]) != wanted[k]:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_error_in_the_middle_leaves_no_trace():
    def f(a):
        b = np.sin(a) * 2
        return np.linalg.inv(b) + np.cos(b)

    a = np.random.default_rng(0).normal(size=(40, 40))
    run = source.compile(wg.trace(f)(a))
    want = bits(run([a])[0])
    with pytest.raises(np.linalg.LinAlgError):
        run([np.zeros((40, 40))])
    assert bits(run([a])[0]) == want


# ----------------------------------------------------------------------------------------------------- claims of reuse


@pytest.mark.parametrize("name", sorted(n for n, p in REGISTRY.items() if not p.composite))
def test_what_is_called_fresh_shares_no_memory(name):
    primitive = REGISTRY[name]
    dtype = np.complex128 if "complex-only" in primitive.tags else np.float64
    for case in cases(primitive, dtype):
        shapes = [case.args]
        if all(np.ndim(x) for x in case.args) and "complex-only" not in primitive.tags:
            shapes.append([np.asarray(x) for x in case.args])
        for args in shapes:
            with np.errstate(all="ignore"):
                listing = wg.trace(lambda *xs, c=case: core.bind(c.primitive, *xs, **c.params))(*args)
                out = primitive.value(*args, **case.params)
            (eqn,) = listing.equations
            fresh = reuse.is_fresh(eqn)
            outs = out if isinstance(out, tuple) else (out,)
            shared = any(np.may_share_memory(y, x) for y in outs for x in args if np.ndim(x) and np.size(x))
            assert not (fresh and shared)
            if not fresh and primitive.name in reuse.VIEWS:
                assert not any(np.may_share_memory(y, x) for y in outs for x in args[1:] if np.ndim(x))


# ------------------------------------------------------------------------------------------------------------- quiet


def test_warnings_are_those_of_the_users_own_lines():
    listing = wg.trace(wg.grad(lambda x: np.sum(np.sqrt(x))))(np.ones(3))
    run = source.compile(listing)
    x = np.array([0.0, 1.0, 4.0])
    assert np.isinf(run([x])[0][0])  # 1/√0 is the rule's line, and silent
    loud = source.compile(wg.trace(lambda x: np.log(x) * 2)(np.ones(3)))
    with pytest.warns(RuntimeWarning, match="divide by zero encountered in log"):
        loud([x])
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        loud([x])


# ------------------------------------------------------------------------------------------------------------ guards


def guarded(value, expected):
    listing = wg.trace(lambda x: [x * 2, np.sin(x) * np.ones(N)])(value)
    listing.guards.append((listing.equations[0].outputs[0], expected))
    return listing


@pytest.mark.parametrize(
    ("value", "other", "expected"),
    [
        (np.float64(1.5), np.float64(1.75), np.float64(3.0)),
        (np.float64(0.0), np.float64(-0.0), np.float64(0.0)),
        (np.int64(3), np.int64(4), 6),
        (np.array([1.0, 2.0] * (N // 2)), np.zeros(N), np.array([2.0, 4.0] * (N // 2))),
    ],
)
def test_value_guards(value, other, expected):
    listing = guarded(value, expected)
    run = source.compile(listing)
    assert list(map(bits, run([value]))) == list(map(bits, expected_of(listing, [value])))
    assert run([other]) is None
    assert run([value]) is not None
    namespace = {}
    exec(source.generate(listing), namespace)
    namespace["f"](value)
    with pytest.raises(ValueError, match="this specialisation of f holds only where v1 is"):
        namespace["f"](other)


def test_a_guard_of_a_bool():
    listing = wg.trace(lambda x: [np.greater(x, 0), x * 1.0])(2.0)
    listing.guards.append((listing.equations[0].outputs[0], True))
    run = source.compile(listing)
    assert run([3.0]) is not None and run([-3.0]) is None
    assert "if not v1:" in run.source


def test_a_guard_comes_before_the_lines_after_it():
    """Another specialisation may be right where this one would fail."""
    listing = wg.trace(lambda a: np.linalg.inv(a * 1.0))(np.eye(3))
    listing.guards.append((listing.equations[0].outputs[0], np.eye(3)))
    assert source.compile(listing)([np.zeros((3, 3))]) is None


# ------------------------------------------------------------------------------------------------- text and its names


def test_text_is_readable():
    x = np.ones(3)
    text = source.generate(
        wg.trace(lambda x, y: np.sum(np.exp(-x) * y[1:4:2, None] + 0.5, axis=0))(x, np.ones(5)), "model"
    )
    assert (
        text
        == '''"""Written by wengert: 6 operations of NumPy, and nothing else needed."""

import numpy as np


def model(x1, x2):
    """The Wengert list of a function, 6 operations, as straight-line NumPy.

    x1: float64[3]
    x2: float64[5]
    Returns float64[3].
    """
    x1 = _argument("x1", x1, np.float64, (3,))
    x2 = _argument("x2", x2, np.float64, (5,))
    v1 = -x1
    v2 = np.exp(v1)
    v3 = x2[1:4:2, None]
    v4 = v2 * v3
    v5 = v4 + 0.5
    v6 = v5.sum(axis=-2)
    return v6


# -------------------------------------------------------------------------------------------------------------- helpers


def _argument(name, x, dtype, shape):
    """An argument as an array; this straight-line program holds for one dtype and shape only."""
    x = np.asarray(x)
    if x.dtype != dtype or x.shape != shape:
        expected = f'{np.dtype(dtype)} of shape {shape}'
        raise ValueError(f'{name} must be {expected}, got {x.dtype} of shape {x.shape}')
    return x
'''
    )


def test_text_is_deterministic(example):
    listing, args, _ = example
    again = wg.trace(lambda *xs: [listing(*xs)])(*args)
    assert source.generate(listing) == source.generate(listing)
    assert source.generate(again) == source.generate(again)


def test_lines_are_not_too_long(example):
    listing, _, _ = example
    assert max(map(len, source.generate(listing).splitlines())) <= 200
    straight = source.generate(wg.trace(lambda *xs: np.concatenate(xs))(*([np.ones(2)] * 60)))
    assert max(map(len, straight.splitlines())) <= 120
    compile(straight, "<text>", "exec")


HOSTILE = [
    "np",
    "class",
    "None",
    "print",
    "math",
    "_argument",
    "__init__",
    "1 + 1; import os",
    "λ",
    "",
    "x1",
    "v1",
    "c1",
    "b0",
    "work",
    "soft match",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_safe(name):
    x = np.linspace(0.1, 1, N)
    listing = wg.trace(wg.grad(lambda x: np.sum(np.log(x) * np.linspace(0, 1, N))))(x)
    for k, var in enumerate(
        [*listing.inputs, *(var for var, _ in listing.constants), *(v for e in listing.equations for v in e.outputs)]
    ):
        var.name = HOSTILE[(k + len(name)) % len(HOSTILE)]
    want = bits(expected_of(listing, [x])[0])
    listing.name = name
    assert bits(source.compile(listing)([x])[0]) == want
    namespace = {}
    text = source.generate(listing, name)
    exec(compile(text, "<text>", "exec"), namespace)
    (main,) = [
        value
        for key, value in namespace.items()
        if getattr(value, "__doc__", "") and "straight-line NumPy" in value.__doc__ and not key.startswith("_")
    ]
    assert bits(main(x)) == want


def test_arguments_of_a_standalone_function_are_checked():
    namespace = {}
    exec(source.generate(wg.trace(lambda x, y: x * y)(np.ones(3), 2.0)), namespace)
    assert list(namespace["f"]([1.0, 2.0, 3.0], 2.0)) == [2.0, 4.0, 6.0]
    with pytest.raises(ValueError, match=r"x1 must be float64 of shape \(3,\), got float64 of shape \(4,\)"):
        namespace["f"](np.ones(4), 2.0)
    with pytest.raises(ValueError, match="x2 must be float64 of shape"):
        namespace["f"](np.ones(3), 2)


def test_tracebacks_show_the_line():
    run = source.compile(wg.trace(lambda a: np.linalg.inv(a))(np.eye(2)))
    try:
        run([np.zeros((2, 2))])
    except np.linalg.LinAlgError as error:
        shown = "".join(traceback.format_exception(error))
    assert "v1 = np.linalg.inv(x1)" in shown


def test_dropped_functions_are_freed():
    before = len(linecache.cache)
    run = source.compile(wg.trace(wg.grad(chain))(np.ones(N), np.ones(N)))
    function = weakref.ref(run._function)
    gc.disable()
    try:
        del run
        assert function() is None  # without the collector
    finally:
        gc.enable()
    assert len(linecache.cache) <= before


# ---------------------------------------------------------------------------------------------------- standing alone

ALONE = """
import sys
sys.modules["wengert"] = None
namespace = {}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), namespace)
import numpy as np
leaves = [x[()] if not x.shape else x for x in np.load(sys.argv[2]).values()]
leaves = [x.item() if flag == "1" else x for x, flag in zip(leaves, sys.argv[4])]
result = namespace["f"](*leaves)
np.savez(sys.argv[3], *(result if type(result) is tuple else (result,)))
assert "wengert" not in [name for name, module in sys.modules.items() if module is not None]
"""


def test_modules_run_without_wengert(example, tmp_path):
    listing, args, _ = example
    (tmp_path / "module.py").write_text(source.generate(listing))
    np.savez(tmp_path / "in.npz", *args)
    weak = "".join("1" if isinstance(x, float) and type(x) is float else "0" for x in args)
    files = [str(tmp_path / name) for name in ("module.py", "in.npz", "out.npz")]
    subprocess.run([sys.executable, "-I", "-c", ALONE, *files, weak], check=True, cwd=tmp_path)
    got = list(np.load(tmp_path / "out.npz").values())
    assert [y.tobytes() for y in got] == [np.asarray(y).tobytes() for y in expected_of(listing, args)]


class Custom(Primitive):
    """A primitive of the user's, whose value no text can express."""

    name = "custom"
    short = None

    def __init__(self, value):
        self.value = value

    def abstract(self, avals, params):
        return avals[0]

    def keeps(self, active, arity):
        return (), False

    def jvp(self, primals, tangents, out, params):
        return None

    def pullback(self, slot, ct, saved, into, params):
        return None

    def batch(self, size, args, mapped, params):
        return core.bind(self, *args)


def test_what_no_text_can_express():
    holder = {"shift": np.arange(3.0)}
    listing = wg.trace(lambda x: core.bind(Custom(lambda v: v + holder["shift"]), x) * 2)(np.ones(3))
    assert bits(source.compile(listing)([np.ones(3)])[0]) == bits(2.0 * np.arange(1.0, 4.0))

    class Opaque:
        def __call__(self, v):
            return v * 3

    listing = wg.trace(lambda x: core.bind(Custom(Opaque()), x))(np.ones(3))
    assert bits(source.compile(listing)([np.ones(3)])[0]) == bits(np.full(3, 3.0))
    with pytest.raises(wg.errors.ProgramError, match="cannot be written as a module of its own"):
        source.generate(listing)


def test_deep_programs(request):
    import time

    def deep(x, count):
        for k in range(count):
            x = np.sin(x) * 0.9 + x[::-1] if k % 3 else np.exp(-x)
        return x

    x = np.linspace(0, 1, 600)
    times = []
    for count in (500, 2500):
        listing = wg.trace(lambda x, n=count: deep(x, n))(x)
        start = time.perf_counter()
        run = source.compile(listing)
        source.generate(listing)
        times.append(time.perf_counter() - start)
        assert bits(run([x])[0]) == bits(expected_of(listing, [x])[0])
    assert len(listing) > 5000
    assert times[1] < 4.0
    assert times[1] < 12 * times[0]


# ------------------------------------------------------------------------------------------ many programs, more buffers


@pytest.fixture
def work_arrays_everywhere(monkeypatch):
    monkeypatch.setattr(reuse, "SMALL", 1)


def readings(one, dtype):
    """Value, gradient, JVP, HVP and batched gradient of a program, as functions and their arguments."""
    constants = {name: value.astype(dtype) for name, value in CONSTANTS.items()} | {"peer": Peer()}
    x = one.x if one.x.dtype.kind == "c" else one.x.astype(dtype)
    v = mixed(*x.shape, seed=11).astype(x.dtype)

    def f(x):
        return one.function(np, x, constants)

    def total(x):
        y = f(x)
        return np.sum(np.asarray(mixed(*y.shape, seed=13), dtype) * y)

    yield f, (x,)
    yield wg.grad(total), (x,)
    yield lambda x, v: list(wg.jvp(f, (x,), (v,))), (x, v)
    yield lambda x, v: wg.hvp(total, (x,), (v,)), (x, v)
    yield wg.vmap(wg.grad(total)), (np.stack([x, x * dtype(1.01)]),)


@pytest.mark.parametrize("one", programs_of_peers.PROGRAMS, ids=lambda one: one.name)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_programs_of_the_oracles(one, dtype, work_arrays_everywhere):
    for function, args in list(readings(one, dtype))[:: 1 if dtype is np.float64 else 3]:
        check(wg.trace(function)(*args), args)


@pytest.mark.parametrize("name", sorted(n for n, p in REGISTRY.items() if not p.composite))
def test_work_arrays_around_each_primitive(name, work_arrays_everywhere):
    """Operands in work arrays that die there, and a result that is read once more after others were written."""
    primitive = REGISTRY[name]
    dtype = np.complex128 if "complex-only" in primitive.tags else np.float64
    for case in cases(primitive, dtype):
        moving = [k for k, x in enumerate(case.args) if np.asarray(x).dtype == dtype]

        def apply(*xs, case=case, moving=moving):
            args = list(case.args)
            for k, x in zip(moving, xs, strict=True):
                args[k] = x * 1.0
            outs = core.bind(case.primitive, *args, **case.params)
            results = []
            for out in outs if isinstance(outs, tuple) else (outs,):
                again = np.negative(np.positive(out * 1)) if core.aval_of(out).dtype.kind in "fc" else out
                results += [out, again, *(x * 3.0 - x for x in xs)]
            return results

        leaves = [case.args[k] for k in moving]
        with np.errstate(all="ignore"):
            check(wg.trace(apply)(*leaves), leaves)


@drawn(60)
def test_random_programs(one):
    """As staged and as optimised, with work arrays for everything, which Hypothesis has no fixture for."""
    small, reuse.SMALL = reuse.SMALL, 1
    try:
        for function, args in Readings(one).cases.values():
            with np.errstate(all="ignore"):
                listing = wg.trace(function)(*args)
            for version in (listing, passes.run(listing)):
                check(version, args)
    finally:
        reuse.SMALL = small
