"""Staging: what the list of a call is, and what it refuses."""

import gc
import random
import time
import weakref

import numpy as np
import pytest

import wengert as wg
from wengert import errors
from wengert.compile.staging import staging
from wengert.compile.staging.calls import Splitter
from wengert.program import WengertList

X = np.array([1.0, 2.0])
REFUSED = (errors.StagingError, "Pass|argument")


def stage(function, *args, **kwargs):
    call = Splitter(frozenset(), frozenset())(args, kwargs)
    staged = staging.stage(function, call, call.values(), "f")
    staged.program.check()
    assert all(var.example is None for var in staged.program.inputs)
    assert all(var.example is None for eqn in staged.program for var in eqn.outputs)
    return staged


def refused(function, *args, match):
    with pytest.raises(errors.StagingError, match=match) as caught:
        stage(function, *args)
    assert str(caught.value).count(". ") >= 2, "an error teaches in three sentences"


# ----------------------------------------------------------------------------------------------------- the list


def test_inputs_are_the_leaves_then_what_is_hidden():
    table = np.ones(2)
    staged = stage(lambda a, b, k: a["x"] * b + table + k, {"x": 1.0}, X, k=np.float32(2))
    assert [str(var.aval) for var in staged.program.inputs] == ["float64", "float64[2]", "float32", "float64[2]"]
    assert [var.aval.weak for var in staged.program.inputs] == [True, False, False, False]
    assert [var.aval.scalar for var in staged.program.inputs] == [True, False, True, False]
    assert staged.hidden[0] is table and len(staged.hidden) == 1
    assert not staged.program.constants


def test_guards_are_of_the_list():
    program = stage(lambda x, n: x * range(n)[-1] if x[0] > 0 else x, X, 3).program
    assert [(var.name, value) for var, value in program.guards] == [("v2", True), ("x2", 3)]
    assert "where v2 is True" in repr(program) and "where x2 is 3" in repr(program)
    broken = WengertList(program.inputs[:1])
    broken.outputs = [program.inputs[0]]
    broken.guards = program.guards
    with pytest.raises(errors.ProgramError, match="the guards"):
        broken.check()


def test_a_value_is_guarded_once():
    program = stage(lambda x: sum(1.0 for _ in range(3) if x > 0) + int(x) + int(x), 1.5).program
    assert len(program.guards) == 5  # each comparison, and the whole part of each int


def test_python_numbers_in_the_list():
    program = stage(lambda x, y: (x + 1) * y, 2.0, np.ones(2, np.float32)).program
    assert [str(eqn.outputs[0].aval) for eqn in program] == ["float64", "float32[2]"]
    assert program.equations[0].outputs[0].aval.weak
    integers = stage(lambda n: (n * 2, n / 2, -n, n**2, n > 1), 3).program
    assert [eqn.outputs[0].aval.weak for eqn in integers][:4] == [True] * 4


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a**b, lambda a, b: a // b,
        lambda a, b: a % b, lambda a, b: a / b, lambda a, b: (a > 1) + (b > 1), lambda a, b: -(a > 1) + b,
        lambda a, b: ~(a > 1), lambda a, b: (a > 1) & (b > 1), lambda a, b: (a > 1) * 2.5, lambda a, b: +(a >= 1),
        lambda a, b: 2**b, lambda a, b: a ** (b > 1), lambda a, b: divmod(a, b), lambda a, b: (a > 1) ** (b > 1),
        lambda a, b: abs(a) + abs(b), lambda a, b: [a, b][b > 1], lambda a, b: (a > 1) / (b >= 1),
        lambda a, b: sum([a > 0, b > 0, a > 1]), lambda a, b: (a == b) - 1, lambda a, b: a if (b != 1) else b,
    ],
)  # fmt: skip
def test_pythons_own_arithmetic(function):
    jitted = wg.jit(function)
    for a, b in ((3, 2), (2.5, 2), (3, 1.5), (-3, 2), (3, -2), (1, 1), (-2.5, -1.5), (7, 3)):
        try:
            expected = function(a, b)
        except ZeroDivisionError:
            continue
        if isinstance(expected, complex):
            continue
        found = jitted(a, b)
        for x, y in zip(*(v if isinstance(v, tuple) else (v,) for v in (found, expected)), strict=True):
            assert x == pytest.approx(y, rel=1e-14), (a, b)
            assert np.asarray(x).dtype.kind == np.asarray(y).dtype.kind
            assert np.float32(1) * np.ones(1, np.float32) * (y if type(y) is not float else 1) is not None


def test_integers_that_outgrow_64_bits():
    jitted = wg.jit(lambda n, x: x * n**40 / 10**39)
    with pytest.raises(errors.StagingError, match="static_argnums"):
        jitted(10, 1.0)
    assert wg.jit(lambda n, x: x * n**40 / 10**39, static_argnums=0)(10, 1.0) == pytest.approx(10.0)
    assert jitted(1, 2.0) == 2.0 / 10**39
    assert wg.jit(lambda x: x * 10**40)(2.0) == 2e40
    with pytest.raises(errors.StagingError, match="beyond 64 bits"):
        wg.jit(lambda n: 10**40 % n)(7)
    np.testing.assert_array_equal(wg.jit(lambda x: x / 10**40)(X), X / 10**40)


def test_booleans_are_static():
    jitted = wg.jit(lambda x, flag: (x if flag else -x, flag))
    assert jitted(1.0, True) == (1.0, True) and jitted(1.0, False) == (-1.0, False)
    assert len(jitted.specializations()) == 2
    assert wg.jit(lambda x, flag: np.where(flag, x, 0.0))(1.0, np.bool_(True)) == 1.0


def test_lists_of_derivatives():
    program = stage(wg.grad(lambda x: np.sum(np.sin(x) * X)), X).program
    assert any(eqn.quiet for eqn in program) and len(program.inputs) == 2


def test_index_arrays_are_the_lists_own():
    index = np.array([1, 0])
    staged = stage(lambda x: x[index], X)
    (eqn,) = staged.program.equations
    held = [part for part in eqn.params["index"] if isinstance(part, np.ndarray)]
    assert all(not np.may_share_memory(part, index) for part in held)
    assert [guard.kind for guard in staged.guards] == ["cell", "contents"]


def test_in_place_programs():
    def g(x):
        y = np.zeros_like(x)
        y[0] = x[1]
        y += x
        z = y[1:]
        z *= 2
        x[0] = 100.0
        return y, x

    jitted = wg.jit(g)
    for _ in range(2):
        y, x = jitted(X)
        np.testing.assert_array_equal(y, [3.0, 4.0])
        np.testing.assert_array_equal(x, [100.0, 2.0])
    np.testing.assert_array_equal(X, [1.0, 2.0])


# ------------------------------------------------------------------------------------------- what is refused


def test_random_draws():
    rng, own = np.random.default_rng(0), random.Random(0)
    state, legacy = np.random.RandomState(0), np.random.get_state()  # noqa: NPY002

    class Sampler:
        def __init__(self):
            self.rng = np.random.default_rng(1)

        def draw(self):
            return self.rng.normal()

    sampler = Sampler()
    cases = [
        (lambda x: x * rng.normal(), "Generator", lambda: rng.bit_generator.state),
        (lambda x: x * np.random.rand(), "np.random", lambda: np.random.get_state()[2]),  # noqa: NPY002
        (lambda x: x * random.random(), "the module random", random.getstate),
        (lambda x: x * own.random(), "Random that it captured", own.getstate),
        (lambda x: x * state.rand(), "RandomState", lambda: state.get_state()[2]),
        (lambda x: x * sampler.draw(), "Generator", lambda: sampler.rng.bit_generator.state),
    ]
    for function, words, look in cases:
        before = look()
        refused(function, X, match=words)
        assert look() == before, words
        with pytest.raises(errors.StagingError, match="as an argument"):
            wg.jit(function)(X)
    assert np.random.get_state()[2] == legacy[2]  # noqa: NPY002


def test_a_generator_among_the_arguments():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    with pytest.raises(errors.StagingError, match="Generator"):
        wg.jit(lambda x, rng: x * rng.normal())(X, rng)
    assert rng.bit_generator.state == before


def test_draws_whose_results_are_not_used():
    rng = np.random.default_rng(0)
    refused(lambda x: (rng.normal(), x)[1], X, match="drew random numbers")


def test_generators_that_are_only_looked_at():
    rng = np.random.default_rng(0)
    assert wg.jit(lambda x: x * len(type(rng).__name__))(1.0) == 9.0


def test_draws_before_an_error_are_taken_back():
    def g(x):
        random.random()
        raise KeyError("mine")

    before = random.getstate()
    with pytest.raises(KeyError):
        wg.jit(g)(X)
    assert random.getstate() == before


def test_a_seed_made_inside_is_right():
    jitted = wg.jit(lambda x: x + np.random.default_rng(7).normal(size=2))
    np.testing.assert_array_equal(jitted(X), X + np.random.default_rng(7).normal(size=2))


def test_generators_made_inside_without_a_seed():
    refused(lambda x: x + np.random.default_rng().normal(size=2), X, match="did not do the same")
    refused(lambda x: x + np.random.default_rng().normal(), X, match="did not do the same.*add|`v1 = x1 \\+")


def test_the_time():
    refused(lambda x: x * time.perf_counter_ns(), X, match="`v1 = x1 \\* ")


COUNT = 0


def test_counters_of_every_kind():
    count, rows, named, buffer = 0, [0], {"n": 0}, np.zeros(1)
    integers = np.zeros(1, int)

    def by_cell(x):
        nonlocal count
        count += 1
        return x

    def by_global(x):
        global COUNT
        COUNT += 1
        return x

    class Model:
        calls = 0

        def by_attribute(self, x):
            self.calls += 1
            return x

        def by_class(self, x):
            type(self).calls += 1
            return x

        def by_list(self, x):
            rows.append(1)
            return x

    model = Model()
    for function, words in (
        (by_cell, "count"),
        (by_global, "COUNT"),
        (model.by_attribute, "calls"),
        (model.by_class, "calls"),
        (model.by_list, "rows"),
        (lambda x: (rows.append(x), x)[1], "rows"),
        (lambda x: (named.update(n=named["n"] + 1), x)[1], "named"),
        (lambda x: (buffer.__iadd__(1), x * 2)[1], "array that it captured"),
        (lambda x: (integers.__iadd__(1), x * 2)[1], "integers"),
    ):
        refused(function, X, match=words)


def test_a_write_into_a_shadow_is_an_error_and_reaches_nobody():
    params = {"w": np.ones(2)}

    class Model:
        def __init__(self):
            self.w = np.ones(2)
            self.seen = None

        def remember(self, x):
            self.seen = x
            return self.w * x

    def update(x):
        params["w"] = params["w"] - x
        return x

    model = Model()
    refused(update, X, match="params")
    refused(model.remember, X, match="self")
    np.testing.assert_array_equal(params["w"], np.ones(2))
    assert model.seen is None


def test_a_cache_that_the_first_call_fills_is_right():
    cache = {}

    def weights(n):
        if n not in cache:
            cache[n] = np.arange(n) * 1.0
        return cache[n]

    jitted = wg.jit(lambda x: x * weights(2))
    for _ in range(2):
        np.testing.assert_array_equal(jitted(X), [0.0, 2.0])
    assert len(jitted.specializations()) == 1
    cache[2][0] = 5.0
    np.testing.assert_array_equal(jitted(X), [5.0, 2.0])


def test_escaped_symbols():
    kept = []
    with pytest.raises(errors.StagingError, match="kept"):
        wg.jit(lambda x: (kept.append(x), x)[1])(X)
    with pytest.raises(errors.EscapedTraceError):
        kept[0] + 1


def test_the_order_of_a_set():
    flip = iter(range(100))
    refused(lambda x: x * 2.0 if next(flip) % 2 else 2.0 * x, X, match="`v1 = ")


def test_another_number_of_operations_constants_results_and_branches():
    for function in (
        lambda x, n: x if n % 2 else x + 1,
        lambda x, n: x + np.ones(2) if n % 2 else x,
        lambda x, n: (x,) if n % 2 else (x, x),
        lambda x, n: [x] if n % 2 else (x,),
        lambda x, n: x if n % 2 or x[0] > 0 else -x,
        lambda x, n: x + np.full(2, float(n % 2)),
        lambda x, n: x.sum(axis=n % 2 * 0) * (n % 2),
        lambda x, n: x[np.array([n % 2])],
        lambda x, n: np.reshape(x, (1, 2) if n % 2 else (2, 1)),
        lambda x, n: {"a": x, "b": 1.0 * (n % 2)},
    ):
        flip = iter(range(100))
        refused(lambda x, function=function, flip=flip: function(x, next(flip)), X, match="did not do the same")


def test_too_large_an_environment():
    big = [[k] for k in range(30_000)]
    refused(lambda x: x * len(big), X, match="20000 objects")


# --------------------------------------------------------------------------------------------------- shadows


def test_functions_that_want_plain_arrays_get_them():
    table = np.array([3.0, 4.0])

    def plain(array):
        assert type(array) is np.ndarray
        return float(np.asarray(array).sum())

    jitted = wg.jit(lambda x: x * plain(table))
    np.testing.assert_array_equal(jitted(X), X * 7)
    table[0] = 4.0
    np.testing.assert_array_equal(jitted(X), X * 8)


def test_other_threads_do_not_see_symbols():
    table, seen = np.ones(2), []
    watch = weakref.WeakValueDictionary(table=table)

    def look(x):
        seen_now = watch["table"]
        assert type(seen_now) is np.ndarray
        return x * table

    np.testing.assert_array_equal(wg.jit(look)(X), X)
    assert not seen


def test_recursion_and_mutual_calls():
    w = np.array([2.0, 3.0])

    def even(x, n):
        return x if n == 0 else odd(x * w, n - 1)

    def odd(x, n):
        return even(x + w, n - 1)

    jitted = wg.jit(even)
    for _ in range(2):
        np.testing.assert_array_equal(jitted(X, 4), even(X, 4))
        w[0] += 1.0
    assert len(jitted.specializations()) == 1


def test_a_function_that_writes_to_outer_names_is_not_shadowed():
    table, last = np.ones(2), None

    def g(x):
        nonlocal last
        last = 1.0
        return x * table

    jitted = wg.jit(g)
    np.testing.assert_array_equal(jitted(X), X)
    assert last == 1.0
    table[0] = 3.0
    np.testing.assert_array_equal(jitted(X), [3.0, 2.0])


def test_nothing_of_a_call_is_kept():
    gc.collect()
    gc.disable()
    try:
        table = np.ones(1000)

        def twice(x, n):
            return x if n == 0 else twice(np.sin(x * table), n - 1)

        x = np.ones(1000)
        staged = stage(twice, x, 3)
        held = weakref.ref(x)
        del x
        assert held() is None
        assert staged.hidden[0] is table
    finally:
        gc.enable()


def test_warnings_of_the_function_are_given_once():
    import warnings

    def g(x):
        warnings.warn("mine", UserWarning, stacklevel=1)
        return np.log(x)

    jitted = wg.jit(g)
    with pytest.raises(UserWarning, match="mine"):
        jitted(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert jitted(X)[0] == 0.0
    with pytest.raises(RuntimeWarning, match="invalid value"):
        wg.jit(lambda x: np.log(x))(-X)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        wg.jit(lambda x: np.log(x))(-X)
