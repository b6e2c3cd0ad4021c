"""The objects that `jit` returns: how they look, what they cost, how they live and die, alone and among threads."""

import copy
import ctypes
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
import timeit
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest

from wengert.compile.entry import entry, instance
from wengert.compile.entry.spec import Constant, EntrySpec, Items, Keys, Leaf, Made, structure
from wengert.compile.machine import engine
from wengert.compile.staging.guards import (
    CellGuard,
)

from .bodies import affine
from .jitted import F8, ONE, Config, attached, cell, is_slow, kind, leaf, make, of

pytestmark = pytest.mark.skipif(engine.unavailable() is not None, reason=str(engine.unavailable()))


# ------------------------------------------------------------------------------------------------ the object, its life


def test_it_looks_like_what_it_wraps():
    def original(x, *, scale=2.0):
        """Scale."""

    f = make(original)
    assert (f.__name__, f.__doc__, f.__wrapped__, f.show(), f.half) == (
        "original",
        "Scale.",
        original,
        "this is original",
        0.5,
    )
    assert inspect.signature(f) == inspect.signature(original)
    assert repr(f) == "<jitted original>" and type(f).maker() is kind()
    assert weakref.ref(f)() is f and callable(f)
    f.extra = 1
    assert f.extra == 1 and vars(f)["extra"] == 1
    with pytest.raises(TypeError):
        kind()()
    with pytest.raises(TypeError):
        type("Sub", (kind(),), {})
    again = copy.copy(f)
    assert again is not f and again.__wrapped__ is original and again(1) == ("slow", (1,), {})


def top_level(x):
    return x


def test_pickling():
    f = make(top_level)
    assert pickle.loads(pickle.dumps(f)).__wrapped__ is top_level


def test_it_binds_as_a_method():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        call = make(slowly=lambda made, self, x: (self.scale, x))
        plain = staticmethod(call)

    model = Model(3)
    assert model.call(1) == (3, 1) == Model.call(model, 1) == Model.plain(model, 1)
    assert model.call.__self__ is model and Model.call is Model.__dict__["call"]
    bound = model.call
    assert bound(2) == (3, 2) and bound(x=2) == (3, 2)
    with pytest.raises(TypeError):
        bound()


def test_errors_of_the_slow_path_pass_through():
    def fail(self, *args):
        raise LookupError(*args)

    with pytest.raises(LookupError, match="here"):
        make(slowly=fail)("here")


def test_a_call_costs_tens_of_nanoseconds():
    f = of(2.5)
    g = of(np.ones(3))

    def nanoseconds(function, x):
        timer = timeit.Timer("function(x)", globals={"function": function, "x": x})
        return min(timer.repeat(7, 50_000)) / 50_000 * 1e9

    python = nanoseconds(lambda x: x, 2.5)
    assert nanoseconds(f, 2.5) < max(60, 3 * python)
    assert nanoseconds(g, np.ones(3)) < max(250, 10 * python)


def rounds(f, calls, count):
    for _ in range(count):
        for args, kwargs in calls:
            try:
                f(*args, **kwargs)
            except Exception:
                pass


def fail_on_two(x):
    if x == 5.0:
        raise ValueError
    return x


def test_nothing_leaks():
    """Every way through an entry, with the references of all that takes part, and the memory of the process."""
    x, y, config = np.ones(3), np.ones(3), Config()
    out = Items(
        list,
        (Items(tuple, (leaf(0), Made(fail_on_two, (leaf(1),)))), Keys((("a", leaf(2, (3,))), ("b", Constant(None))))),
    )
    spec = EntrySpec(
        (Items(list, (leaf(0), leaf(2, (3,)))), leaf(1), structure(config)),
        out,
        (("mode", structure("m")),),
        hidden=(y,),
    )
    f = attached(spec, affine([leaf(0), leaf(1), leaf(2, (3,))]))
    calls = [
        (([1.0, x], 1.0, config), {"mode": "m"}),
        (([1.0, x], 2.0, config), {"mode": "m"}),  # cannot be built
        (([1.0, x], 1.0, config), {}),
        (([1.0, x, x], 1.0, config), {"mode": "m"}),
        (([1.0, x], 1.0, None), {"mode": "m"}),
        (([1.0, x[:2]], 1.0, config), {"mode": "m"}),
        ((None,), {}),
    ]
    watched = [x, y, config, None, f, float, np.ndarray, x.dtype, fail_on_two, "mode"]
    rounds(f, calls, 100)
    gc.collect()
    counts = list(map(sys.getrefcount, watched))
    tracemalloc.start()
    try:
        rounds(f, calls, 10)
        before = tracemalloc.get_traced_memory()[0]
        rounds(f, calls, 15_000)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    found = list(map(sys.getrefcount, watched))
    # None is shared by everybody: a leak in one of 105 000 calls would show
    assert [b - a for a, b in zip(counts, found, strict=True) if abs(b - a) > 50] == []
    assert found[0] == counts[0] and found[2] == counts[2]
    assert after - before < 20_000


def test_a_cycle_through_its_own_captures_is_collected():
    def once():
        holder = cell(None)
        f = make()
        holder.cell_contents = f
        f.itself = f
        spec = EntrySpec((ONE,), ONE, guards=(CellGuard(holder, None, f, "f"),))  # held strongly, on purpose
        entry.attach(f, spec, affine([ONE]))
        assert f(1.0) == 3.0
        return weakref.ref(f)

    gc.collect()
    alive = [once() for _ in range(50)]
    gc.collect()
    assert [f() for f in alive] == [None] * 50


def test_a_cleared_object_that_is_still_reached_raises():
    class Last:
        def __init__(self, f):
            self.f, self.found = f, found

        def __del__(self):
            try:
                self.found.append(self.f(1.0))
            except ReferenceError as error:
                self.found.append(error)

    found = []
    for _ in range(20):
        f = of(2.5)
        f.last = Last(f)
        del f
    gc.collect()
    assert len(found) == 20 and all(x == 3.0 or isinstance(x, ReferenceError) for x in found)
    # What the collector does to a cycle, done by hand while somebody looks on
    f = of(2.5)
    clear = instance._module().address("clear")
    ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)(clear)(f)
    with pytest.raises(ReferenceError, match="collected"):
        f(1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_dropped_objects_give_their_code_back(monkeypatch):
    monkeypatch.setenv("WENGERT_CACHE", "off")

    def many(count):
        for k in range(count):
            attached(EntrySpec((ONE, structure(k)), ONE), affine([ONE]))(1.0, k)

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    many(50)
    gc.collect()
    before = resident()
    many(300)
    assert resident() - before < 3 * 2**20


WAIT = """
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare i32 @usleep(i32)
"""
SLEEP = """
  %state = call ptr @PyEval_SaveThread()
  %ignored = call i32 @usleep(i32 2000)
  call void @PyEval_RestoreThread(ptr %state)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="usleep")
def test_arguments_and_code_live_while_a_body_runs_without_the_gil():
    """Other threads empty the lists that hold the arguments, bind captured arrays anew, and drop the function."""
    array = leaf(0, (1000,))
    other = leaf(1, (1000,))
    wrong, answered = [], []

    def work(k):
        for _ in range(20):
            holder = cell(np.full(1000, 1.0))
            w = holder.cell_contents
            spec = EntrySpec(
                (Items(list, (array,)),),
                Items(tuple, (array, other)),
                hidden=(w,),
                guards=(CellGuard(holder, None, w, "w"),),
                free=frozenset({id(w)}),
            )
            box = [attached(spec, affine([array, other], SLEEP, WAIT))]
            del w, spec
            for _ in range(3):
                given = [np.full(1000, float(k))]
                holder.cell_contents = np.full(1000, 2.0)
                timer = threading.Timer(0.001, lambda g=given, h=holder: (g.clear(), setattr(h, "cell_contents", None)))
                timer.start()
                found = box[0](given) if _ < 2 else box.pop()(given)
                timer.join()
                if is_slow(found):  # the timer was early
                    continue
                answered.append(k)
                if not (found[0] == 2 * k + 1).all() or not (found[1] == 5).all():
                    wrong.append((k, found))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and len(answered) > 100


def test_entries_are_added_while_other_threads_call():
    f = make()
    stop, wrong = threading.Event(), []

    def work():
        while not stop.is_set():
            for k in range(12):
                found = f(np.ones(k))
                if not (is_slow(found) or np.array_equal(found, np.full(k, 3.0))):
                    wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(7)]
    for thread in threads:
        thread.start()
    for k in range(12):
        one = Leaf(0, np.ndarray, F8, (k,))
        entry.attach(f, EntrySpec((one,), one), affine([one]))
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == [] and instance.count(f) == 12


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzzed_calls_never_crash(seed):
    """In a process of its own, with the debug allocator, which fills freed memory, and collections all the time."""
    environment = {**os.environ, "PYTHONMALLOC": "debug", "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.compile.fuzz_entry", str(seed), "1500"],
        capture_output=True, text=True, env=environment, timeout=300, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    native, slowly = map(int, done.stdout.split())
    assert native > 300 and slowly > 300
