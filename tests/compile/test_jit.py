"""`jit` from outside: results, arguments, containers, transforms around and inside; and what users do with it."""

import copy
import dataclasses
import functools
import gc
import inspect
import pickle
import threading
import typing
import warnings
import weakref

import numpy as np
import pytest

import wengert as wg
from wengert import errors


def f(x):
    return np.log(np.sin(x**2) + np.exp(x))


@wg.jit
def module_level(x, scale=2.0):
    """Scaled sine."""
    return scale * np.sin(x)


def same(found, expected):
    one, one_tree = wg.testing.tree.flatten(found)
    other, other_tree = wg.testing.tree.flatten(expected)
    assert wg.testing.tree.same_structure(one_tree, other_tree)
    for x, y in zip(one, other, strict=True):
        y = wg.core.owned(y)
        assert type(x) is type(y) or {type(x), type(y)} == {bool, np.bool_}, (x, y)
        if isinstance(y, np.ndarray | np.generic):
            assert x.dtype == y.dtype and x.shape == y.shape
        single = np.asarray(y).dtype.name in ("float32", "complex64")
        np.testing.assert_allclose(x, y, rtol=1e-5 if single else 1e-12, atol=1e-300)


class Pair(typing.NamedTuple):
    a: typing.Any
    b: typing.Any


@dataclasses.dataclass
class Layer:
    w: typing.Any
    b: typing.Any
    name: str = "layer"


VALUES = [
    1.5, np.float64(1.5), np.float32(1.5), np.array(1.5), np.array([1.0, 2.0]), np.array([[1.0], [2.0]], np.float32),
    np.array([1.0, 2.0, 3.0, 4.0])[::2], np.array([1.0, 2.0])[::-1], np.ones((3, 2)).T, np.zeros((0, 3)),
    np.array([1.0, 2.0]).astype(">f8"), np.array([1 + 2j, 3.0]), 2 + 1j,
    np.frombuffer(b"\0" + np.ones(3).tobytes(), "f8", 3, 1),
    np.broadcast_to(np.array(2.0), (2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=[str(k) for k in range(len(VALUES))])
def test_same_as_eager_in_values_and_types(value):
    for function in (f, lambda x: x, lambda x: (x + 1, {"a": x * x, "n": None}), lambda x: [np.sum(x), np.sum(x) > 0]):
        native = value.astype("f8") if getattr(value, "dtype", None) == np.dtype(">f8") else value
        same(wg.jit(function)(value), function(native))


@pytest.mark.parametrize(
    "value", [3, np.int32(3), np.array([1, 2]), True, np.bool_(True), np.array([True, False]), np.uint8(7)]
)
def test_integers_and_booleans(value):
    same(
        wg.jit(lambda x: (x, x * 2, x + np.ones(2), np.sum(x)))(value),
        (value, value * 2, value + np.ones(2), np.sum(value)),
    )


def test_python_numbers_are_weak():
    x = np.ones(3, np.float32)
    for a in (2.0, 2, True):
        assert wg.jit(lambda a, x: (a + a) * x)(a, x).dtype == np.float32
    assert wg.jit(lambda a, x: (a + 1) * x)(np.inf, x).dtype == np.float32
    assert wg.jit(lambda a, x: a * x)(np.float64(2.0), x).dtype == np.float64


def test_a_python_float_a_numpy_scalar_and_an_array_do_not_share_a_list():
    square = wg.jit(lambda x: x * np.ones(2, np.float32))
    assert [square(x).dtype.name for x in (2.0, np.float64(2), np.array(2.0), np.float32(2))] == [
        "float32", "float64", "float64", "float32",
    ]  # fmt: skip
    assert len(square.specializations()) == 4


def test_zero_dimensional_arrays_stay_arrays():
    def g(x):
        x = x.copy()
        y = x
        y += 1
        return x

    assert wg.jit(g)(np.array(2.0)) == 3
    assert type(wg.jit(lambda x: x.copy())(np.array(2.0))) is np.ndarray
    assert type(wg.jit(lambda x: x + 1)(np.array(2.0))) is np.float64


def test_transforms_inside_and_outside():
    x = np.array([0.5, 1.5])

    def loss(x):
        return np.sum(f(x))

    same(wg.jit(wg.grad(loss))(x), wg.grad(loss)(x))
    same(wg.jit(wg.value_and_grad(loss))(x), wg.value_and_grad(loss)(x))
    same(wg.jit(wg.hessian(loss))(x), wg.hessian(loss)(x))
    same(wg.jit(wg.vmap(f))(x), wg.vmap(f)(x))
    same(wg.jit(wg.vmap(wg.grad(f)))(x), wg.vmap(wg.grad(f))(x))
    same(wg.grad(wg.jit(loss))(x), wg.grad(loss)(x))
    same(wg.hessian(wg.jit(loss))(x), wg.hessian(loss)(x))
    same(wg.vmap(wg.jit(f))(x), wg.vmap(f)(x))
    same(wg.jvp(wg.jit(f), (x,), (x,)), wg.jvp(f, (x,), (x,)))
    same(wg.jit(wg.grad(wg.jit(loss)))(x), wg.grad(loss)(x))
    same(wg.jit(wg.jit(f))(x), f(x))
    assert len(wg.trace(wg.jit(f))(1.5)) == 5
    same(wg.grad(wg.grad(wg.jit(f)))(0.7), wg.grad(wg.grad(f))(0.7))


def test_value_and_grad_of_a_python_float():
    found = wg.jit(wg.value_and_grad(lambda x: x))(1.5)
    assert found == (1.5, 1.0) and [type(y) for y in found] == [np.float64, np.float64]


def test_called_inside_a_transform_with_a_captured_traced_value():
    def outer(w):
        return wg.jit(lambda x: w * x * x)(3.0)

    assert wg.grad(outer)(2.0) == 9.0
    inner = wg.jit(lambda x, w: w * x * x)
    assert wg.grad(lambda w: wg.grad(lambda x: inner(x, w))(3.0))(2.0) == 6.0


def test_captured_traced_values_are_never_taken_for_constants():
    jitted = {}

    def outer(w):
        made = jitted.setdefault("f", wg.jit(lambda x: x * holder[0]))
        holder[0] = w
        return made(3.0)

    holder = [None]
    assert [wg.grad(outer)(w) for w in (1.0, 2.0)] == [3.0, 3.0]
    holder[0] = 5.0
    assert jitted["f"](2.0) == 10.0


def test_variables_are_seen_through():
    w = wg.Variable(np.array([1.0, 2.0]))
    loss = wg.jit(lambda x: np.sum(w * x))(np.array([3.0, 4.0]))
    loss.backward()
    np.testing.assert_array_equal(w.grad, [3.0, 4.0])


def test_containers():
    tree = {"a": [np.ones(2), 2.0], "b": Pair(np.ones(3), (1, None)), "c": Layer(np.eye(2), np.ones(2))}

    def g(tree, *rest, **more):
        layer = tree["c"]
        return {
            "sum": np.sum(tree["a"][0]) * tree["a"][1],
            "pair": tree["b"],
            "layer": layer.w * len(layer.name),
            "rest": rest,
            "more": more,
        }

    expected = g(tree, 1.0, 2, k=np.ones(1))
    found = wg.jit(g)(tree, 1.0, 2, k=np.ones(1))
    assert type(found["pair"]) is Pair
    same(found, expected)


def test_arguments_by_name_and_defaults():
    g = wg.jit(lambda x, y=2.0, *, z=3.0: x + 10 * y + 100 * z)
    assert [g(1.0), g(1.0, 5.0), g(y=5.0, x=1.0), g(1.0, z=4.0)] == [321.0, 351.0, 351.0, 421.0]
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        g()
    with pytest.raises(TypeError, match="unexpected keyword"):
        g(1.0, q=2)


def test_no_arguments_and_none():
    assert wg.jit(lambda: np.float64(3.0))() == 3.0
    assert wg.jit(lambda x: None)(1.0) is None
    same(wg.jit(lambda x: (None, x))(1.0), (None, 1.0))
    same(wg.jit(lambda x: {})(1.0), {})


def test_static_values():
    def g(x, mode, n=1):
        return x**n if mode == "power" else x * n

    jitted = wg.jit(g, static_argnames="n")
    assert [jitted(2.0, "power", 3), jitted(2.0, "power", n=3), jitted(2.0, "times", n=3)] == [8.0, 8.0, 6.0]
    assert len(jitted.specializations()) == 3  # n by position and by name are two kinds of call
    assert "static 'power'" in repr(jitted.specializations())
    jitted(2.0, "power", 3)
    assert len(jitted.specializations()) == 3


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0), ((1,), (1.0,)), ([1, 2], [1, 3]), ("a", b"a")]
)
def test_statics_are_told_apart_by_type_and_value(one, other):
    g = wg.jit(lambda x, s: x + len(repr(s)) + (1 if repr(s).startswith("[1, 3") else 0), static_argnums=1)
    for value in (one, other, one):
        assert g(1.0, value) == 1.0 + len(repr(value)) + (1 if repr(value).startswith("[1, 3") else 0)
    assert len(g.specializations()) == 2


def test_a_static_list_that_changes_is_another():
    g = wg.jit(lambda x, s: x * sum(s), static_argnums=1)
    values = [1, 2]
    assert g(1.0, values) == 3
    values.append(3)
    assert g(1.0, values) == 6


def test_static_arrays_and_negative_positions():
    g = wg.jit(lambda x, s: x * len(s) + s[0], static_argnums=-1)
    table = np.array([1.0, 2.0])
    assert g(1.0, table) == 3.0
    table[0] = 5.0
    assert g(1.0, table) == 7.0


def test_functions_as_arguments():
    g = wg.jit(lambda function, x: function(x) * 2)
    assert g(np.sin, 1.0) == 2 * np.sin(1.0)
    assert g(np.cos, 1.0) == 2 * np.cos(1.0)
    scale = 3.0
    assert g(lambda x: x * scale, 1.0) == 6.0


def test_a_static_function_is_held_weakly():
    g = wg.jit(lambda function, x: function(x))

    def make():
        big = np.ones(3)
        return lambda x: x * big

    function = make()
    g(function, 2.0)
    held = weakref.ref(function)
    assert len(g.specializations()) == 1
    del function
    assert held() is None
    assert len(g.specializations()) == 0


def test_bad_options_teach():
    with pytest.raises(errors.ArgumentError, match="not callable"):
        wg.jit(3)
    with pytest.raises(errors.ArgumentError, match="static_argnums='x'"):
        wg.jit(f, static_argnums="x")
    with pytest.raises(errors.ArgumentError, match="does not have"):
        wg.jit(f, static_argnames="nothing")
    with pytest.raises(errors.ArgumentError, match="static argument"):
        wg.grad(wg.jit(lambda x: x * x, static_argnums=0))(1.0)


def test_results_that_are_no_arrays():
    with pytest.raises(TypeError, match="returned a str"):
        wg.jit(lambda x: "text")(1.0)
    with pytest.raises(TypeError, match="at \\['a'\\]"):
        wg.jit(lambda x: {"a": np.sin})(1.0)


def test_arguments_that_are_no_numbers():
    with pytest.raises(TypeError, match="NumPy array of dtype <U1"):
        wg.jit(lambda x: x)(np.array(["a"]))
    with pytest.raises(TypeError, match="MaskedArray"):
        wg.jit(lambda x: x)(np.ma.array([1.0]))


def test_integers_beyond_64_bits_are_static():
    g = wg.jit(lambda x, n: x + n % 7)
    assert g(1.0, 2**70) == 1.0 + 2**70 % 7
    assert g(1.0, 2**70 + 1) == 1.0 + (2**70 + 1) % 7


def test_inputs_are_untouched_and_outputs_are_owned():
    def g(x):
        y = x.reshape(-1)
        x += 1
        return x, x, y, x.T

    x = np.zeros((2, 3))
    jitted = wg.jit(g)
    for _ in range(2):
        outs = jitted(x)
        assert not x.any()
        for k, out in enumerate(outs):
            assert out.flags.owndata and out.flags.writeable and not np.may_share_memory(out, x)
            assert not any(np.may_share_memory(out, other) for other in outs[:k])
    identity = wg.jit(lambda x: x)
    assert identity(x) is not x and identity(x).base is None


def test_a_constant_result_is_fresh_each_time():
    table = np.ones(3)
    g = wg.jit(lambda x: (table, np.arange(3), x))
    first = g(1.0)
    first[0][:] = 7
    first[1][:] = 7
    same(g(1.0), (np.ones(3), np.arange(3), 1.0))


def test_donated_arguments_give_the_same():
    g = wg.jit(lambda x, y: (x * 2 + y, x - y), donate=0)
    for _ in range(3):
        same(g(np.arange(3.0), np.ones(3)), (np.arange(3.0) * 2 + 1, np.arange(3.0) - 1))


# ------------------------------------------------------------------------------------------------ control flow


def test_branches_on_values():
    def g(x):
        if x > 0:
            return np.sqrt(x)
        if x < -10:
            raise ValueError("too small")
        return -x

    jitted = wg.jit(g)
    for x in (4.0, -3.0, 9.0, -5.0, 0.0):
        assert jitted(x) == g(x)
    assert len(jitted.specializations()) == 2
    for _ in range(2):
        with pytest.raises(ValueError, match="too small"):
            jitted(-11.0)
    assert jitted(16.0) == 4.0
    derivative = wg.jit(wg.grad(g))
    assert [derivative(x) for x in (4.0, -3.0)] == [0.25, -1.0]


@pytest.mark.parametrize(
    "function",
    [
        lambda x, n: sum(x * k for k in range(n)),
        lambda x, n: [x, -x, x * 2][n],
        lambda x, n: x * int(n),
        lambda x, n: x + float(n),
        lambda x, n: x + n.item() if hasattr(n, "item") else x + n,
        lambda x, n: (x * np.ones(3))[: int(n)],
        lambda x, n: np.ones(int(n)) * x,
        lambda x, n: x * 2 if n else x,
        lambda x, n: x * 2 if n in (1, 2) else x,
        lambda x, n: x * round(n + 0.4),
        lambda x, n: x * complex(n).real,
        lambda x, n: x if n != 1 else x * 5,
        lambda x, n: x * 2 if n < 2 and x > 0 else x * 3,
        lambda x, n: max(x, n) * min(x, n),
        lambda x, n: np.array([1.0, 2.0, 3.0])[n] * x,
    ],
)
def test_numbers_asked_for_are_guarded(function):
    jitted = wg.jit(function)
    for _ in range(2):
        for n in (1, 2, 0):
            for x in (0.5, -1.5):
                same(jitted(x, n), function(x, n))
                same(jitted(np.float64(x), np.int32(n)), function(np.float64(x), np.int32(n)))


def test_what_is_guarded_is_the_decision():
    jitted = wg.jit(lambda x: int(x) + x if x else x)
    for x in np.linspace(1.0, 1.9, 20):
        jitted(float(x))
    assert len(jitted.specializations()) == 1
    rounded = wg.jit(lambda x: round(x) * x)
    for x in np.linspace(1.6, 2.4, 20):
        assert rounded(float(x)) == round(float(x)) * float(x)
    assert len(rounded.specializations()) == 1


def test_loops_until_convergence():
    def newton(a):
        x = a
        while abs(x * x - a) > 1e-12 * a:
            x = 0.5 * (x + a / x)
        return x

    jitted = wg.jit(newton, max_specializations=32)
    for a in (2.0, 3.0, 100.0, 2.5):
        assert jitted(a) == newton(a)


def test_array_decisions_are_guards_of_their_answer():
    for decide in (
        lambda x: np.allclose(x, 1.0),
        lambda x: np.array_equal(x, np.ones(3)),
        lambda x: np.isclose(x, 1.0).all(),
        lambda x: np.any(x > 2),
        lambda x: (x == 1).all(),
        lambda x: np.array_equal(x, x, equal_nan=True),
    ):
        jitted = wg.jit(lambda x, decide=decide: x * 2 if decide(x) else x * 3)
        for x in (np.ones(3), np.full(3, 5.0), np.full(3, 6.0), np.array([1, np.nan, 1])):
            same(jitted(x), x * 2 if decide(x) else x * 3)
        assert len(jitted.specializations()) <= 2


def test_isclose_and_unwrap_as_values():
    x = np.random.default_rng(0).normal(size=(4, 6)) * 5
    for function in (
        lambda x: np.isclose(x, x + 1e-9), lambda x: np.isclose(x, np.nan, equal_nan=True), lambda x: np.unwrap(x),
        lambda x: np.unwrap(x, axis=0, period=3.0), lambda x: np.real_if_close(x + 0j),
        lambda x: np.unwrap(np.floor(x), period=4),
    ):  # fmt: skip
        jitted = wg.jit(function)
        jitted(x)
        same(jitted(-x), function(-x))
        assert len(jitted.specializations()) == 1


def test_eigenvalues_may_turn_complex():
    jitted = wg.jit(np.linalg.eigvals)
    for a in (np.diag([1.0, 2.0]), np.array([[0.0, 1.0], [-1.0, 0.0]]), np.diag([3.0, 4.0])):
        same(np.sort_complex(jitted(a)), np.sort_complex(np.linalg.eigvals(a)))
        assert jitted(a).dtype == np.linalg.eigvals(a).dtype


def test_orders_index_plain_tables():
    table = np.array([10.0, 20.0, 30.0])
    jitted = wg.jit(lambda x: table[np.argsort(x)] * x)
    for x in ([3.0, 1.0, 2.0], [1.0, 2.0, 3.0]):
        same(jitted(np.array(x)), table[np.argsort(x)] * np.array(x))
    jitted = wg.jit(wg.grad(lambda x: np.sum(table[np.argsort(x)] * x)))
    for x in ([3.0, 1.0, 2.0], [1.0, 2.0, 3.0]):
        same(jitted(np.array(x)), table[np.argsort(x)])


def test_other_ways_out_keep_their_errors():
    x = np.ones(2)
    for function in (lambda x: np.asarray(x), lambda x: x.tolist(), lambda x: {x: 1}, lambda x: np.array([x, x])):
        with pytest.raises(TypeError, match="was called on a traced array"):
            wg.jit(function)(x)
    for function in (float, int, lambda x: x.item(), range):
        with pytest.raises(TypeError, match=r"was called on a traced array|An integer conversion"):
            wg.jit(wg.grad(lambda x, function=function: (function(x), x)[1]))(1.0)
        with pytest.raises(TypeError, match=r"was called on a traced array|An integer conversion"):
            wg.trace(lambda x, function=function: function(x))(1.0)


def test_pythons_own_errors_of_conversions():
    with pytest.raises(TypeError):
        wg.jit(lambda x: range(x))(1.5)
    with pytest.raises(TypeError):
        wg.jit(lambda x: float(x))(np.ones(2))
    with pytest.raises(TypeError):
        wg.jit(lambda x: int(x))(1j)
    with pytest.raises(np.exceptions.ComplexWarning):
        wg.jit(lambda x: float(x))(np.complex128(1j))
    with pytest.raises(ValueError, match="ambiguous"):
        wg.jit(lambda x: 1.0 if x > 0 else 2.0)(np.ones(2))


def test_batches_still_have_no_value():
    with pytest.raises(errors.ConversionError, match="Batch"):
        wg.jit(wg.vmap(lambda x: x if x > 0 else -x))(np.array([1.0, -1.0]))


def test_printing_does_not_guard(capsys):
    def g(x):
        print(x, f"{x:.2f}", repr(x), np.array2string(x * np.ones(2)))
        return x * 2

    jitted = wg.jit(g)
    jitted(1.0)
    jitted(2.0)
    assert len(jitted.specializations()) == 1 and not jitted.specializations()[0].program.guards
    assert "1.00" in capsys.readouterr().out


def test_too_many_specialisations_run_as_plain_python_with_one_warning():
    jitted = wg.jit(lambda x, n: x * int(n), max_specializations=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [jitted(2.0, n) for n in range(8)] == [2.0 * n for n in range(8)]
    assert len(caught) == 1 and issubclass(caught[0].category, errors.JitWarning)
    text = str(caught[0].message)
    assert "3 specialisations" in text and "x2" in text and "max_specializations" in text
    assert caught[0].filename == __file__
    assert len(jitted.specializations()) == 3
    assert jitted(2.0, 1) == 2.0
    x = np.ones(2)
    plain = wg.jit(lambda x, n: (x.__imul__(2), int(n))[0], max_specializations=0)
    with pytest.warns(errors.JitWarning):
        same(plain(x, 1), np.full(2, 2.0))
    assert (x == 1).all()


# ------------------------------------------------------------------------------------------------- as functions


def test_as_a_decorator_with_and_without_options():
    @wg.jit(static_argnames=("n",))
    def power(x, n=2):
        """A power."""
        return x**n

    assert power(3.0) == 9.0 and power(3.0, n=3) == 27.0
    assert power.__name__ == "power" and power.__doc__ == "A power." and power.__wrapped__ is power.function
    assert list(inspect.signature(power).parameters) == ["x", "n"]
    assert repr(module_level) == "jit(module_level)"


def test_methods():
    class Model:
        def __init__(self, w):
            self.w = w

        @wg.jit
        def __call__(self, x):
            return self.w * x

        @wg.jit
        def step(self, x, *, k=1.0):
            return self.w @ x * k

        @staticmethod
        @wg.jit
        def free(x):
            return x + 1

        @classmethod
        @wg.jit
        def made(cls, x):
            return x * cls.factor

        factor = 3.0

    one, two = Model(np.eye(2)), Model(np.eye(2) * 5)
    x = np.array([1.0, 2.0])
    same([one.step(x), two.step(x), Model.step(one, x), one.step(x, k=2.0)], [x, 5 * x, x, 2 * x])
    same(one(x), np.eye(2) * x)
    assert Model.free(1.0) == 2.0 and Model.made(2.0) == 6.0
    Model.factor = 4.0
    assert Model.made(2.0) == 8.0
    one.w = np.eye(2) * 7
    same(one.step(x), 7 * x)
    same(wg.jit(one.step)(x), 7 * x)
    held = weakref.ref(two)
    del two
    gc.collect()  # a class is a cycle itself, its instances are not
    assert held() is None


def test_callables_of_every_kind():
    class Scale:
        def __init__(self, k):
            self.k = k

        def __call__(self, x):
            return x * self.k

    scale = Scale(3.0)
    jitted = wg.jit(scale)
    assert jitted(2.0) == 6.0
    scale.k = 4.0
    assert jitted(2.0) == 8.0
    assert wg.jit(functools.partial(lambda a, x, b: a * x + b, 2.0, b=1.0))(3.0) == 7.0
    assert wg.jit(np.sin)(0.5) == np.sin(0.5)
    assert wg.jit(scale.__call__)(2.0) == 8.0


def test_pickle_and_copy():
    again = pickle.loads(pickle.dumps(module_level))
    assert again is module_level or again(0.5) == module_level(0.5)
    jitted = wg.jit(np.cos, static_argnums=(), max_specializations=7)
    jitted(0.5)
    for other in (pickle.loads(pickle.dumps(jitted)), copy.copy(jitted), copy.deepcopy(jitted)):
        assert other(0.5) == np.cos(0.5)
        assert other.options == jitted.options and len(other.specializations()) == 1
    inner = pickle.loads(pickle.dumps(wg.jit(wg.grad(np.sin))))
    assert inner(0.5) == np.cos(0.5)


def test_functions_are_freed_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        big = np.ones(1000)
        held = []
        for function in (lambda x: x * 2, lambda x: x * big, wg.grad(lambda x: np.sum(x * big))):
            jitted = wg.jit(function)
            value = np.ones(1000)
            jitted(value)
            held += [weakref.ref(jitted), weakref.ref(jitted.specializations()[0].program), weakref.ref(value)]
            del jitted, value, function
        assert all(h() is None for h in held)
    finally:
        gc.enable()


def test_a_recursive_function_is_freed():
    scope = {"wg": wg, "np": np}
    exec("@wg.jit\ndef count(x, n):\n    return x if n == 0 else count(x, n - 1) * 2", scope)
    assert scope["count"](1.0, 3) == 8.0
    held = weakref.ref(scope["count"])
    gc.disable()
    try:
        del scope["count"]
        assert held() is None
    finally:
        gc.enable()


def test_arguments_are_not_kept():
    jitted = wg.jit(lambda x: x * 2)
    x = np.ones(3)
    held = weakref.ref(x)
    out = jitted(x)
    del x
    assert held() is None
    held = weakref.ref(out)
    del out
    assert held() is None


def test_many_jitted_functions_of_one_code_warn():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(12):
            wg.jit(lambda x: x * 2)(float(k))
    assert [w.category for w in caught] == [errors.JitWarning]
    assert "outside the loop" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = [wg.jit(lambda x, k=k: x * k) for k in range(30)]  # which all live on: this is by design
        assert [g(1.0) for g in kept] == [float(k) for k in range(30)]


def test_threads():
    jitted = wg.jit(lambda x: np.sum(np.sin(x) ** 2) if x[0] > 0 else np.sum(x))
    arrays = [np.full(n, s) for n in (1, 2, 3, 4) for s in (1.0, -1.0)]
    expected = [jitted.function(x) for x in arrays]
    barrier = threading.Barrier(8)
    wrong = []

    def work():
        barrier.wait()
        for _ in range(20):
            for x, y in zip(arrays, expected, strict=True):
                if jitted(x) != y:
                    wrong.append(x)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(jitted.specializations()) == 8


def test_functions_that_stage_each_other_in_two_threads_do_not_wait_for_ever():
    one = wg.jit(lambda x: x * two(np.ones(2)) if len(x) == 3 else x * 2)
    two = wg.jit(lambda x: np.sum(one(np.ones(2))) + np.sum(x))
    results = []
    barrier = threading.Barrier(2)

    def call(function, x):
        barrier.wait()
        results.append(function(x))

    threads = [
        threading.Thread(target=call, args=(g, x), daemon=True) for g, x in ((one, np.ones(3)), (two, np.ones(2)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 2
    same(one(np.ones(3)), np.full(3, 6.0))


def test_errors_are_those_of_the_function_and_leave_nothing():
    def g(x):
        if x.shape == (2,):
            raise KeyError("mine")
        return x @ np.ones(3)

    jitted = wg.jit(g)
    with pytest.raises(KeyError, match="mine"):
        jitted(np.ones(2))
    with pytest.raises(ValueError, match="mismatch") as caught:
        jitted(np.ones(4))
    with pytest.raises(ValueError) as eager:
        g(np.ones(4))
    assert str(caught.value) == str(eager.value)
    assert not jitted.specializations()
    assert jitted(np.ones(3)) == 3.0


def test_an_interrupt_leaves_nothing():
    state = {"interrupt": True}

    def g(x):
        y = x * 2
        if state["interrupt"]:
            raise KeyboardInterrupt
        return y

    jitted = wg.jit(g)
    with pytest.raises(KeyboardInterrupt):
        jitted(1.0)
    state["interrupt"] = False
    assert jitted(1.0) == 2.0
    out = []
    thread = threading.Thread(target=lambda: out.append(jitted(np.ones(2))))
    thread.start()
    thread.join(10)
    assert len(out) == 1


def test_floating_point_errors_follow_the_users_settings():
    log = wg.jit(lambda x: np.log(x))
    assert log(1.0) == 0.0
    with np.errstate(all="ignore"):
        assert np.isnan(log(-1.0))
    with np.errstate(all="ignore"):
        assert wg.jit(lambda x: np.log(x))(0.0) == -np.inf


# ---------------------------------------------------------------------------------------------------- reports


def test_report_and_show():
    table = np.ones(2)
    g = wg.jit(lambda x: x * table if x[0] > 0 else -x)
    with pytest.raises(errors.ArgumentError, match="has not been called"):
        g.show()
    assert repr(g.specializations()) == "no specialisations yet"
    g(np.ones(2))
    g(np.ones(2))
    g(-np.ones(2))
    text = repr(g.specializations())
    assert "float64[2]" in text and "2 calls" in text and "reads c1" in text and "while v2 is True" in text
    assert "table is an array" in text
    assert "a branch on a value" in text
    assert "return" in g.show() and "where v2 is" in g.show("stage")
    assert repr(g.show()) == str(g.show())
    assert "float32[2]" in g.show("stage", np.ones(2, np.float32))
    with pytest.raises(errors.ArgumentError, match="no stage 'nothing'"):
        g.show("nothing")
    lowered = g.lower(np.ones(2))
    lowered.program.check()
    assert lowered is g.lower(np.ones(2))
    with pytest.raises(errors.ArgumentError, match="traced array"):
        wg.grad(lambda x: g.lower(x))(1.0)


def test_check_compares_with_the_function():
    g = wg.jit(lambda x: {"a": np.sin(x), "b": x > 0}, check=True)
    for x in (1.0, -1.0, np.nan, np.inf * 0):
        with np.errstate(all="ignore"):
            g(x)

    class Clock:  # a time that no guard sees
        __slots__ = ()

        def __getattr__(self, name):
            return len(ticks)

    ticks = [1]
    clock = Clock()
    frozen = wg.jit(lambda x: x * clock.now, check=True)
    ticks_seen = frozen(2.0)
    assert ticks_seen == 2.0


def test_check_finds_what_no_guard_sees():
    source = iter(())

    class Hidden:
        def __init__(self):
            self.values = {}

    hidden = Hidden()
    hidden.values[0] = 1.0
    read = vars(hidden).__getitem__  # a builtin method: nothing looks into it
    for changed, match in ((2.0, "differs"), (None, "differs")):
        hidden.values[0] = 1.0
        g = wg.jit(lambda x: (x * read("values")[0]) if read("values")[0] else (x, x), check=True)
        assert g(3.0) == 3.0
        hidden.values[0] = changed
        with pytest.raises(errors.CheckError, match=match):
            g(3.0)
    del source


def test_a_back_end_that_is_none_is_refused_at_once():
    with pytest.raises(errors.ArgumentError, match="no back end 'fortran'"):
        wg.jit(np.sin, backend="fortran")
