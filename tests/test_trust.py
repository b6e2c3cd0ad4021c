"""What must hold on the millionth call as on the first: memory, exceptions, threads, depth, pickles, repeatability."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, ConversionError, NotDifferentiableError, StructureError

A = np.array([[1.0, 2.0, 0.5], [0.25, -1.0, 1.5]])
X = np.array([0.3, -0.6, 0.9])


def wave(x: Any) -> Any:
    return np.sum(np.tanh(A @ x) * np.sin(x[0])) + np.sum(x[1:] ** 3)


# ----------------------------------------------------------------------------------------------------------- memory


@contextmanager
def collector_off() -> Iterator[None]:
    """A block that must leave nothing to the cycle collector."""
    gc.collect()
    gc.disable()
    try:
        yield
        assert gc.collect() == 0, "something was left to the cycle collector"
    finally:
        gc.enable()


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from Linux's /proc")
def test_a_hundred_thousand_gradients_leave_nothing() -> None:
    gradient = wg.grad(lambda x: np.sin(x) * x)
    x = np.float64(1.5)
    with collector_off():
        for _ in range(50_000):
            gradient(x)
        before = resident()
        for _ in range(50_000):
            gradient(x)
        assert resident() - before < 2**20


def _drop_pullback() -> None:
    wg.vjp(wave, X)


def _repeat_pullback() -> None:
    _, pullback = wg.vjp(wave, X)
    for _ in range(3):
        pullback(1.0)


def _backward() -> None:
    x = wg.Variable(X)
    wave(x).backward(retain_graph=True)
    wave(x).backward()


def _in_place() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        row = y[1:]
        row *= 2.0
        y[0] = row[0]
        return np.sum(y * x)

    wg.grad(f)(X)
    wg.jvp(f, (X,), (X,))
    wg.vmap(f)(A)


def _create_graph() -> None:
    x = wg.Variable(X)
    wave(x).backward(create_graph=True)
    slope = x.grad
    wg.zero_grads(x)
    np.sum(slope**2).backward()


def _escape() -> None:
    kept = []

    def f(x: Any) -> Any:
        kept.append(x)
        return x * x

    wg.grad(f)(1.0)
    try:
        kept[0] + 1.0
    except RuntimeError:
        pass


def _fails() -> None:
    def f(x: Any) -> Any:
        y = np.sin(x) @ np.ones(7)
        return y

    def writes(x: Any) -> Any:  # NumPy hides our error behind one of its own
        y = np.zeros(3)
        y[0] = x[0]
        return y

    for function in (f, writes):
        for transform in (wg.grad, wg.hessian, wg.vmap, wg.trace, lambda f: lambda x: wg.jvp(f, (x,), (x,))):
            try:
                transform(function)(X)
            except (ValueError, TypeError, IndexError):
                pass


WORK: dict[str, Callable[[], Any]] = {
    "grad": lambda: wg.grad(wave)(X),
    "value_and_grad": lambda: wg.value_and_grad(lambda d: wave(d["x"]))({"x": X, "none": None}),
    "dropped pullback": _drop_pullback,
    "repeated pullback": _repeat_pullback,
    "jvp": lambda: wg.jvp(wave, (X,), (X,)),
    "linearize": lambda: wg.linearize(wave, X)[1](X),
    "vmap": lambda: wg.vmap(wave)(np.stack([X, X])),
    "hessian": lambda: wg.hessian(wave)(X),
    "jacrev": lambda: wg.jacrev(lambda x: A @ np.sin(x))(X),
    "derivative": lambda: wg.derivative(np.tanh)(X),
    "trace": lambda: wg.trace(wg.grad(wave))(X)(X),
    "backward": _backward,
    "create_graph, then zero_grads": _create_graph,
    "in place": _in_place,
    "a leaked value": _escape,
    "failed traces": _fails,
    "Dual": lambda: wave(wg.Dual(X, X)).tangent,
    "linalg": lambda: wg.hessian(lambda x: np.linalg.slogdet(np.outer(x, x) + np.eye(3))[1])(X),
    "sorting": lambda: wg.grad(lambda x: np.sum(np.sort(x) * np.cumprod(x)))(X),
}


@pytest.mark.parametrize("name", WORK)
def test_nothing_is_left_to_the_collector(name: str) -> None:
    work = WORK[name]
    work()
    with collector_off():
        for _ in range(3):
            work()


def test_a_dropped_graph_is_freed_by_reference_count() -> None:
    with collector_off():
        x = wg.Variable(X)
        y = np.exp(x)
        watch = weakref.ref(y)
        z = np.sum(np.sin(y[1:]) * y[:2])
        del y
        del z
        assert watch() is None
        _, pullback = wg.vjp(np.exp, np.ones(10))
        kept = weakref.ref(pullback.nodes[0].__class__)
        assert kept() is not None
        del pullback


# ------------------------------------------------------------------------------------------- exceptions, interrupts


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, Stop, GeneratorExit])
def test_after_an_exception_the_next_call_is_right(error: type[BaseException]) -> None:
    def fails(x: Any) -> Any:
        with wg.no_grad():
            inner = wg.grad(lambda y: np.sum(y * x))(x)
            raise error(f"{inner!r}"[:0])

    for run in (
        wg.grad(fails),
        wg.hessian(fails),
        wg.vmap(fails, in_axes=None, axis_size=2),
        wg.trace(fails),
        lambda x: wg.jvp(fails, (x,), (x,)),
        lambda x: wg.vjp(fails, x),
        lambda x: wg.linearize(fails, x),
        lambda x: wg.grad(lambda x: np.sum(wg.vmap(wg.grad(fails))(np.stack([x, x]))))(x),
    ):
        with pytest.raises(error):
            run(X)
        assert wg.grad(lambda x: x * wg.grad(lambda y: x + y)(2.0))(3.0) == 1.0
        w = wg.Variable(2.0)
        (w * w).backward()  # no_grad was left
        assert w.grad == 4.0


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # when it hits a callback of the collector
def test_a_keyboard_interrupt_at_any_moment() -> None:
    """A timer raises it somewhere in the engine; whatever it hit, the next call is right."""
    if not hasattr(signal, "setitimer"):
        pytest.skip("no interval timers")

    rung: list[Any] = []

    def ring(*_: Any) -> None:
        rung.append(True)
        raise KeyboardInterrupt

    want, errors = wg.hessian(wave)(X), np.geterr()
    before = signal.signal(signal.SIGALRM, ring)
    interrupted = 0
    try:
        for k in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + 0.000137 * k)
                while len(rung) == k:
                    wg.hessian(wave)(X)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert np.geterr() == errors
            np.testing.assert_array_equal(wg.hessian(wave)(X), want)
            w = wg.Variable(X)
            wave(w).backward()
            np.testing.assert_array_equal(w.grad, wg.grad(wave)(X))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 50


# --------------------------------------------------------------------------------------- threads, tasks, processes


def test_eight_threads_of_nested_hessians() -> None:
    def work(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        m = rng.normal(size=(4, 4))

        def f(x: Any) -> Any:
            y = x.copy()
            y[0] = x[1] * x[2]
            return np.sum(np.tanh(m @ y)) * wg.grad(lambda z: np.sum(z * x) ** 2)(x)[0]

        return [wg.hessian(f)(rng.normal(size=4)) for _ in range(5)]

    want = [work(seed) for seed in range(8)]
    barrier = threading.Barrier(8)

    def start(seed: int) -> Any:
        barrier.wait()
        return work(seed)

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(start, range(8)))
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


def test_eager_threads_do_not_share_no_grad() -> None:
    inside, done = threading.Event(), threading.Event()

    def quiet() -> None:
        with wg.no_grad():
            inside.set()
            done.wait(30)

    thread = threading.Thread(target=quiet)
    thread.start()
    inside.wait(30)
    try:
        x = wg.Variable(3.0)
        (x * x).backward()
        assert x.grad == 6.0
    finally:
        done.set()
        thread.join()


def test_asyncio_tasks() -> None:
    async def train(start: float, quiet: bool) -> Any:
        x = wg.Variable(start)
        for _ in range(20):
            loss = np.sin(x) * x
            await asyncio.sleep(0)
            loss.backward()
            with wg.no_grad():
                await asyncio.sleep(0)  # other tasks run here, and they record
                if quiet:
                    assert not (x * 2.0).requires_grad
                x -= 0.1 * x.grad
            await asyncio.sleep(0)
            assert (x * 2.0).requires_grad
            x.zero_grad()
        return x.item(), wg.hessian(lambda v: np.sum(v**3))(np.array([start]))[0, 0]

    async def alone(start: float) -> Any:
        return await train(start, True)

    async def together() -> Any:
        return await asyncio.gather(*(train(0.1 * k, bool(k % 2)) for k in range(10)))

    want = [asyncio.run(alone(0.1 * k)) for k in range(10)]
    assert asyncio.run(together()) == want


def test_a_coroutine_function_is_no_function_to_differentiate() -> None:
    async def f(x: Any) -> Any:
        return x * x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Python's own: the coroutine was never awaited
        with pytest.raises(NotDifferentiableError, match="coroutine"):
            wg.grad(f)(1.0)
        with pytest.raises(NotDifferentiableError, match="coroutine"):
            wg.vjp(f, 1.0)


def run_script(script: str) -> str:
    """Run a script in a Python of its own, warnings being errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork() -> None:
    """In the middle of a transform and of an eager program, child and parent go on alike."""
    assert run_script("""
        import os
        import numpy as np
        import wengert as wg

        def f(x):
            global child
            y = np.sum(np.sin(x) ** 2)
            child = os.fork()
            return y * wg.grad(lambda z: np.sum(z * x))(x)[0]

        w = wg.Variable(np.ones(3))
        loss = np.sum(np.exp(w))
        found = wg.grad(f)(np.ones(3))
        loss.backward()
        want = 2 * np.sin(1) * np.cos(1) + np.array([3 * np.sin(1) ** 2, 0, 0])
        assert np.allclose(found, want), found
        assert np.allclose(w.grad, np.e)
        assert np.allclose(wg.hessian(lambda x: np.sum(x ** 3))(np.ones(2)), 6 * np.eye(2))
        if child:
            _, status = os.waitpid(child, 0)
            assert status == 0
            print("both")
        """) == "both"  # fmt: skip


def test_import_and_first_calls_without_a_warning() -> None:
    assert run_script("""
        import numpy as np, wengert as wg
        f = lambda x: np.log(np.sin(x**2) + np.exp(x))
        wg.grad(f)(1.5), f(wg.Dual(1.5, 1.0)), wg.trace(f)(1.5)
        wg.hessian(lambda w: np.sum(np.tanh(w) ** 2))(np.ones(3))
        print("quiet")
        """) == "quiet"  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ depth


def test_a_million_operations() -> None:
    """Recorded, swept and freed without recursion, eagerly and by `grad`."""

    def f(x: Any) -> Any:
        for _ in range(500_000):
            x = x + 1e-7
            x = x * 1.0000001
        return np.sum(x)

    want = 1.0000001**500_000
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(300)
        assert wg.grad(f)(np.ones(1)) == pytest.approx(want, rel=1e-9)
        y = wg.Variable(np.ones(1))
        for _ in range(200_000):
            y = np.sin(y)
        del y  # never swept
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("kind", ["chain", "diamonds", "views", "writes", "two results"])
def test_deep_graphs_are_swept_and_dropped(kind: str) -> None:
    def step(x: Any) -> Any:
        if kind == "chain":
            return np.sin(x)
        if kind == "diamonds":
            return x * 0.5 + x * 0.4999
        if kind == "views":
            return x[::-1]
        if kind == "writes":
            x[0] = x[1] * 0.5
            return x
        return np.modf(x)[0] * 1.0001

    def f(x: Any) -> Any:
        for _ in range(5_000):
            x = step(x)
        return np.sum(x)

    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(300)
        x = wg.Variable(X)
        y = f(x * 1.0)
        del y  # never swept
        y = f(x * 1.0)
        y.backward()
        assert np.all(np.isfinite(x.grad))
        del x, y
        _, pullback = wg.vjp(lambda x: f(x * 1.0), X)
        pullback(1.0)
        del pullback
        listed = wg.trace(lambda x: f(x * 1.0))(X)
        listed.check()
        assert listed(X) == f(X * 1.0)
        del listed
        _, pushforward = wg.linearize(lambda x: f(x * 1.0), X)
        assert np.isfinite(pushforward(X))
        wg.jvp(lambda x: f(x * 1.0), (X,), (X,))
    finally:
        sys.setrecursionlimit(limit)


def test_reading_one_array_many_times() -> None:
    """`for k in range(5000): … x[k]` is linear: each read adds one number, not one array."""
    n = 5_000

    def f(x: Any) -> Any:
        total = 0.0
        for k in range(n):
            total = total + x[k] * x[n - 1 - k]
        return total

    x = np.linspace(-1.0, 1.0, n)
    np.testing.assert_allclose(wg.grad(f)(x), 2 * x[::-1], rtol=1e-15)


# ------------------------------------------------------------------------------------------------------- containers


@dataclass
class Layer:
    weight: Any
    bias: Any = None


@dataclass(frozen=True)
class Frozen:
    layers: list[Layer]
    scale: Any = field(default=1.0)


Pair = namedtuple("Pair", "a b")


def test_ten_thousand_leaves() -> None:
    leaves = {f"{k}": np.full(2, float(k)) for k in range(10_000)}
    found = wg.grad(lambda d: sum(np.sum(x**2) for x in d.values()))(leaves)
    assert list(found) == list(leaves)
    np.testing.assert_array_equal(found["777"], [1554.0, 1554.0])


def test_lists_nested_five_hundred_deep() -> None:
    nested: Any = [2.0]
    for _ in range(500):
        nested = [nested, 1.0]

    def f(container: Any) -> Any:
        product = 1.0
        while len(container) == 2:
            container, factor = container
            product = product * factor
        return product * container[0] ** 3

    found = wg.grad(f)(nested)
    for _ in range(500):
        found, slope = found
        assert slope == 8.0
    assert found == [12.0]
    assert wg.jvp(f, (nested,), (nested,))[1] == pytest.approx(24.0 + 500 * 8.0)


def test_containers_of_every_kind() -> None:
    containers = {
        "list": ([X, 2.0], lambda c: np.sum(c[0]) * c[1]),
        "tuple": ((X, 2.0), lambda c: np.sum(c[0]) * c[1]),
        "dict": ({"b": X, "a": 2.0}, lambda c: np.sum(c["b"]) * c["a"]),
        "OrderedDict": (OrderedDict(b=X, a=2.0), lambda c: np.sum(c["b"]) * c["a"]),
        "defaultdict": (defaultdict(list, b=X, a=2.0), lambda c: np.sum(c["b"]) * c["a"]),
        "deque": (deque([X, 2.0]), lambda c: np.sum(c[0]) * c[1]),
        "namedtuple": (Pair(X, 2.0), lambda c: np.sum(c.a) * c.b),
        "dataclass": (Layer(X, 2.0), lambda c: np.sum(c.weight) * c.bias),
        "None inside": (Layer([None, X, {}], (2.0, None)), lambda c: np.sum(c.weight[1]) * c.bias[0]),
        "frozen, nested": (Frozen([Layer(X), Layer(2.0)]), lambda c: np.sum(c.layers[0].weight) * c.layers[1].weight),
        "dataclass in a deque": (deque([Layer(X, 2.0)]), lambda c: np.sum(c[0].weight) * c[0].bias),
        "dataclass in a namedtuple": (Pair(Layer(X, 2.0), None), lambda c: np.sum(c.a.weight) * c.a.bias),
    }
    for name, (container, f) in containers.items():
        value, gradient = wg.value_and_grad(f)(container)
        assert value == 2 * np.sum(X), name
        assert type(gradient) is type(container), name
        assert f(gradient) == 6.0 * np.sum(X), name  # Σ 2 · Σ x
        _, pullback = wg.vjp(lambda c: c, container)
        (back,) = pullback(container)
        assert type(back) is type(container), name
        value, tangent = wg.jvp(lambda c: c, (container,), (container,))
        assert type(value) is type(tangent) is type(container), name
        assert f(tangent) == f(container), name
        assert wg.trace(f)(container)(container) == 2 * np.sum(X), name


class Seen(list):  # type: ignore[type-arg]
    pass


def _cyclic() -> dict[str, Any]:
    in_list: list[Any] = [1.0]
    in_list.append(in_list)
    in_dict: dict[str, Any] = {"x": 1.0}
    in_dict["me"] = [in_dict]
    in_dataclass = Layer(1.0)
    in_dataclass.bias = in_dataclass
    in_deque: deque[Any] = deque([1.0])
    in_deque.append(in_deque)
    in_ordered: Any = OrderedDict(x=1.0)
    in_ordered["me"] = in_ordered
    in_pair = Pair([1.0], 2.0)
    in_pair.a.append(in_pair)
    return {
        "list": in_list, "dict": in_dict, "dataclass": in_dataclass, "deque": in_deque, "OrderedDict": in_ordered,
        "namedtuple": in_pair,
    }  # fmt: skip


@pytest.mark.parametrize("name", _cyclic())
def test_a_cyclic_container_is_an_error(name: str) -> None:
    container = _cyclic()[name]
    for run in (
        lambda: wg.grad(lambda c: 1.0)(container),
        lambda: wg.vjp(lambda c: 1.0, container),
        lambda: wg.jvp(lambda c: 1.0, (container,), (container,)),
        lambda: wg.vmap(lambda c: 1.0)(container),
        lambda: wg.trace(lambda c: 1.0)(container),
        lambda: wg.vjp(lambda x: container, 1.0),
        lambda: wg.stop_gradient(container),
    ):
        with pytest.raises(StructureError, match="contains itself"):
            run()


def test_a_container_in_which_a_part_occurs_twice_is_no_cycle() -> None:
    shared = [1.0, Layer(2.0)]
    gradient = wg.grad(lambda c: c["a"][0] * c["b"][1].weight)({"a": shared, "b": shared})
    assert gradient["a"][0] == 2.0
    assert gradient["b"][1].weight == 1.0
    assert gradient["a"][1].weight == 0.0


def test_a_list_subclass_is_refused_and_not_walked_forever() -> None:
    mine = Seen([1.0])
    mine.append(mine)
    with pytest.raises(NotDifferentiableError, match="Seen"):
        wg.grad(lambda c: 1.0)(mine)


# ------------------------------------------------------------------------------------------------ pickles and copies


def module_level(x: Any, scale: float = 1.0) -> Any:
    return np.sum(np.sin(x) * scale)


class Method:
    def __init__(self) -> None:
        self.weight = 3.0

    @wg.grad
    def unbound(self: Any, x: Any) -> Any:  # differentiates its first argument
        return self * x

    def loss(self, x: Any) -> Any:
        return np.sum(self.weight * x**2)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_transformed_functions_can_be_pickled(protocol: int) -> None:
    for transformed in (
        wg.grad(module_level),
        wg.value_and_grad(module_level, argnums=(0,)),
        wg.hessian(module_level),
        wg.jacrev(np.tanh),
        wg.jacfwd(np.tanh, holomorphic=True),
        wg.vmap(np.sin, in_axes=-1),
        wg.derivative(np.tanh),
        wg.grad(wg.grad(np.sin)),
        wg.vmap(wg.grad(np.sin)),
        wg.grad(Method().loss),
    ):
        argument = (
            0.5 if transformed.function in (np.sin,) or getattr(transformed.function, "function", 0) is np.sin else X
        )
        if transformed.apply.__name__ == "_vmap":
            argument = X
        again = pickle.loads(pickle.dumps(transformed, protocol))
        assert repr(again(argument)) == repr(transformed(argument))
    assert copy.deepcopy(wg.grad(module_level))(1.0) == np.cos(1.0)
    assert pickle.loads(pickle.dumps(wg.grad(module_level), protocol))(1.0, scale=2.0) == 2 * np.cos(1.0)


def test_traced_values_are_not_pickled() -> None:
    def saves(x: Any) -> Any:
        pickle.dumps(x)
        return x

    for run in (wg.grad(saves), wg.vmap(saves, in_axes=0), wg.trace(saves), lambda x: wg.jvp(saves, (x,), (x,))):
        with pytest.raises(ConversionError, match="pickle"):
            run(np.ones(2))
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(wg.Variable(1.0))


def test_transformed_functions_look_like_the_original() -> None:
    transformed = wg.grad(module_level)
    assert transformed.__name__ == "module_level"
    assert transformed.__wrapped__ is module_level
    assert "grad(module_level)" in repr(transformed)
    assert Method().loss(2.0) == 12.0
    assert wg.grad(Method().loss)(2.0) == 12.0
    for wrong in (1.0, None, X, "f"):
        for transform in (wg.grad, wg.hessian, wg.jacfwd, wg.vmap, wg.trace, wg.derivative, wg.value_and_grad):
            with pytest.raises(ArgumentError, match="not callable"):
                transform(wrong)


# -------------------------------------------------------------------------------------------------- repeat and quiet


@pytest.mark.parametrize("name", ["grad", "hessian", "vmap", "linearize", "trace", "linalg", "sorting"])
def test_the_same_bits_twice(name: str) -> None:
    rng = np.random.default_rng(3)
    m, x = rng.normal(size=(60, 40)), rng.normal(size=40)

    def f(x: Any) -> Any:
        y = np.exp(np.tanh(m @ x))
        return np.sum(y / np.sum(y) * np.sort(y)) + np.sum(x[rng_index] ** 2) + np.linalg.norm(x)

    rng_index = rng.integers(0, 40, 200)
    runs = {
        "grad": lambda: wg.grad(f)(x),
        "hessian": lambda: wg.hessian(f)(x),
        "vmap": lambda: wg.vmap(wg.grad(f))(np.stack([x, 2 * x])),
        "linearize": lambda: wg.linearize(f, x)[1](x),
        "trace": lambda: wg.trace(f)(x)(x),
        "linalg": WORK["linalg"],
        "sorting": WORK["sorting"],
    }
    first = np.asarray(runs[name]())
    for _ in range(3):
        assert np.asarray(runs[name]()).tobytes() == first.tobytes()


HARMLESS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "where-masked sqrt at 0": (lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)), np.array([0.0, 1.0])),
    "where-masked sqrt": (lambda x: np.sum(np.where(x > 0, np.sqrt(np.abs(x)), 0.0)), np.array([0.0, 1.0, -1.0])),
    "power 0": (lambda x: np.sum(x**0), np.array([0.0, 1.0])),
    "square": (lambda x: np.sum(x**2), np.array([0.0, -1.0])),
    "negative base": (lambda x: np.sum(x**3), np.array([-2.0, 0.0])),
    "prod with a zero": (np.prod, np.array([0.0, 2.0, 3.0])),
    "sinc": (lambda x: np.sum(np.sinc(x)), np.array([0.0, 0.5])),
    "hypot on an axis": (lambda x: np.sum(np.hypot(x, 0.0)), np.array([0.0, 3.0])),
    "norm at 0": (np.linalg.norm, np.zeros(3)),
    "abs at 0": (lambda x: np.sum(np.abs(x)), np.array([0.0, -1.0])),
    "maximum": (lambda x: np.sum(np.maximum(x, 0.0)), np.array([0.0, -1.0, 1.0])),
    "logaddexp": (lambda x: np.sum(np.logaddexp(x, 0.0)), np.array([0.0, 40.0, -40.0])),
    "tanh in the tail": (lambda x: np.sum(np.tanh(x)), np.array([10.0, -10.0])),
    "sum of nothing": (np.sum, np.zeros(0)),
    "sort": (lambda x: np.sum(np.sort(x) * [1.0, 2.0]), np.array([3.0, 1.0])),
    "std": (np.std, np.array([1.0, 2.0, 4.0])),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_gradients_neither_warn_nor_raise(name: str) -> None:
    f, x = HARMLESS[name]
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [
            wg.grad(f)(x),
            wg.jacfwd(f)(x),
            wg.jacrev(f)(x),
            wg.vjp(f, x)[1](1.0)[0],
            wg.vjp(f, x)[1](0.0)[0],
            wg.jvp(f, (x,), (np.zeros_like(x),))[1],
            wg.linearize(f, x)[1](np.zeros_like(x)),
        ]
        v = wg.Variable(x)
        f(v).backward()
        wg.hessian(f)(x)
        wg.trace(f)(x)(x)
    for gradient in (*found, v.grad):
        assert np.all(np.isfinite(gradient)), gradient
    np.testing.assert_array_equal(found[0], v.grad)


def test_the_users_own_floating_point_errors_stay_his() -> None:
    for run in (
        lambda f, x: wg.grad(f)(x),
        lambda f, x: wg.jvp(f, (x,), (x,)),
        lambda f, x: wg.linearize(f, x),
        lambda f, x: wg.vmap(f)(np.array([x, x])),
        lambda f, x: wg.trace(f)(x),
    ):
        with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="divide by zero"):
            run(lambda x: np.log(x), np.float64(0.0))
        with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="overflow"):
            run(lambda x: np.exp(x), np.float64(1000.0))
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            run(lambda x: np.log(x), np.float64(0.0))
        with np.errstate(all="ignore"):
            run(lambda x: np.log(x), np.float64(0.0))
    listed = wg.trace(np.log)(1.0)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        listed(0.0)
    with np.errstate(divide="call", all="ignore"):
        assert np.geterr()["divide"] in ("call", "ignore")
    before = np.geterr()
    wg.grad(np.log)(0.5)
    assert np.geterr() == before


def test_attributes_of_the_namespace() -> None:
    assert set(wg.__all__) <= set(dir(wg))
    assert SimpleNamespace(**{name: getattr(wg, name) for name in wg.__all__})
