"""The tensor form and its stages: structure by hand, and results by a naive interpreter that trusts nothing."""

import warnings

import numpy as np
import pytest

import wengert as wg
from wengert import errors, tree
from wengert.avals import Aval
from wengert.compile import native, passes
from wengert.compile.machine import scalars
from wengert.compile.tensors import fuse as fusing
from wengert.compile.tensors import pack as packing
from wengert.compile.tensors import plan as planning
from wengert.compile.tensors import rows as rowing
from wengert.compile.tensors import split as splitting
from wengert.compile.tensors.form import (
    Accumulate,
    Buffer,
    Control,
    Expr,
    Loop,
    Nest,
    Store,
    Tensors,
    Update,
    View,
    apply,
    literal,
    row_major,
)  # fmt: skip
from wengert.compile.tensors.fuse import canonical, decode, fuse, merge, sweep
from wengert.compile.tensors.lowering import lower
from wengert.compile.tensors.pack import pack
from wengert.compile.tensors.plan import plan
from wengert.compile.tensors.rows import rows
from wengert.compile.tensors.split import PARTS, split
from wengert.core import REGISTRY

from .functions import SCALARS, made
from .handmade import Hand
from .interpreter import garbage, interpret, rooms

F8, I8, B1 = (np.dtype(code) for code in ("f8", "i8", "?"))


# ------------------------------------------------------------------------------------------------------------- tools


class Draft:
    """A program in tensor form, written by hand."""

    def __init__(self):
        self.tensors = Tensors("hand")
        self.count = 0

    def input(self, *shape, dtype=F8):
        buffer = Buffer("input", dtype, int(np.prod(shape)), f"x{len(self.tensors.inputs)}", len(self.tensors.inputs))
        self.tensors.inputs.append(buffer)
        return View(buffer, shape, row_major(shape))

    def temp(self, *shape, dtype=F8):
        self.count += 1
        return View(Buffer("temp", dtype, int(np.prod(shape)), f"t{self.count}"), shape, row_major(shape))

    def output(self, *shape, dtype=F8):
        number = len(self.tensors.outputs)
        buffer = Buffer("output", dtype, int(np.prod(shape)), f"y{number}", number)
        self.tensors.outputs.append(buffer)
        return View(buffer, shape, row_major(shape))

    def loop(self, shape, *effects, ordered=False):
        self.tensors.nodes.append(Loop(shape, effects, ordered))

    def store(self, view, value):
        self.loop(view.shape, Store(view, value))

    def sum(self, out, shape, value, axes, how="add"):
        """out = value combined along axes."""
        strides = iter(out.strides)
        view = View(out.buffer, shape, tuple(0 if k in axes else next(strides) for k in range(len(shape))), out.offset)
        self.loop(shape, Accumulate(view, value, how))

    def done(self):
        self.tensors.check()
        return self.tensors


def load(view):
    return Expr("load", Aval((), view.buffer.dtype), (), view)


def call(name, *args):
    return apply(
        REGISTRY[name], [load(x) if isinstance(x, View) else number(x) if isinstance(x, float) else x for x in args]
    )


def number(value):
    return literal(np.float64(value), Aval((), F8))


def loops(program):
    return [node for node in program.nodes if isinstance(node, Loop)]


def nests(program):
    return [node for node in program.nodes if isinstance(node, Nest)]


def inputs_of(program, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal(b.size).astype(b.dtype)
        if b.dtype.kind == "f"
        else rng.integers(0, 2, b.size).astype(b.dtype)
        for b in program.inputs
    ]


def assert_same_results(before, after, seed=0):
    """Two programs in tensor form agree, and the second is well-formed."""
    after.check()
    leaves = inputs_of(before, seed)
    for x, y in zip(interpret(before, leaves), interpret(after, leaves), strict=True):
        assert_near(y, x)
    return after


def assert_near(found, expected):
    expected = np.asarray(expected).reshape(-1)
    found = np.asarray(found).reshape(-1)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind in "fc":
        size = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * size)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.fixture
def small(monkeypatch):
    """Rows, parts and packing wherever they are possible, however small."""
    eager_thresholds(monkeypatch)


def eager_thresholds(patch):
    patch.setattr(rowing, "LARGE", 1)
    patch.setattr(rowing, "LONG", 1)
    patch.setattr(splitting, "HEAVY", 1)


# ------------------------------------------------------------------------------------------------- views and buffers


def test_views_answer_as_numpy_does():
    x = np.arange(24.0)
    view = View(Buffer("input", F8, 24, "x"), (2, 3, 4), (12, 4, 1))
    for question in (
        lambda a: a[1], lambda a: a[:, ::-1], lambda a: a[..., 1::2], lambda a: a[None, :, 2, -1:0:-1],
        lambda a: np.diagonal(a, 1, 1, 2), lambda a: a.transpose(2, 0, 1)[::-2],
    ):  # fmt: skip
        found = view.ask(question)
        assert_view(found, x, question(x.reshape(2, 3, 4)))
    assert view.reshape((6, 4)).strides == (4, 1) and view.reshape((24,)).is_whole()
    assert view.transpose((1, 0, 2)).reshape((6, 4)) is None
    assert_view(
        view.transpose((1, 0, 2)).reshape((3, 2, 2, 2)), x, x.reshape(2, 3, 4).transpose(1, 0, 2).reshape(3, 2, 2, 2)
    )
    assert_view(View(view.buffer, (1, 4), (4, 1)).broadcast((5, 3, 4)), x, np.broadcast_to(x[:4], (5, 3, 4)))
    assert not view.transpose((0, 2, 1)).is_contiguous() and not view.ask(lambda a: a[1]).is_whole()


def assert_view(view, flat, expected):
    size = flat.itemsize
    found = np.lib.stride_tricks.as_strided(flat[view.offset :], view.shape, [s * size for s in view.strides])
    np.testing.assert_array_equal(found, expected)


def test_check_refuses_what_is_out_of_bounds_or_never_written():
    for fault in ("bounds", "early", "missing", "shape"):
        d = Draft()
        x, t, y = d.input(4), d.temp(4), d.output(4)
        if fault == "early":
            d.store(y, load(t))
            d.store(t, load(x))
        elif fault == "missing":
            d.store(t, load(x))
        elif fault == "shape":
            d.loop((3,), Store(y, load(x)))
        else:
            d.store(y, load(x._replace(offset=1)))
        with pytest.raises(errors.ProgramError):
            d.done()


def test_decode_tells_which_element_each_index_reads():
    buffer = Buffer("temp", F8, 24, "t")
    whole = View(buffer, (2, 3, 4), (12, 4, 1))
    assert decode(whole, whole) == ([{0: 1}, {1: 1}, {2: 1}], [0, 0, 0])
    assert decode(View(buffer, (4, 2), (-1, 12), 7), whole) == ([{1: 1}, {}, {0: -1}], [0, 1, 3])
    assert decode(View(buffer, (3, 2), (0, 8), 1), whole) == ([{}, {1: 2}, {}], [0, 0, 1])
    assert decode(View(buffer, (6,), (1,), 0), whole) is None, "it runs over from row to row"
    assert decode(View(buffer, (3,), (5,), 0), whole) is None
    assert decode(View(buffer, (3, 3), (4, 4), 0), whole) is None
    turned = View(buffer, (4, 6), (1, 4))
    assert decode(View(buffer, (3,), (4,), 12), turned) == ([{}, {0: 1}], [0, 3])


# ------------------------------------------------------------------------------------------------------------ fusing


def test_a_producer_and_its_reader_become_one_loop():
    d = Draft()
    x, t, y = d.input(3, 4), d.temp(3, 4), d.output(12)
    d.store(t, call("exp", x))
    d.store(y, call("sin", t.reshape((12,))))
    (loop,) = assert_same_results(d.done(), fuse(d.done())).nodes
    assert loop.writes() == [y.buffer]


def test_what_two_read_is_computed_once():
    d = Draft()
    x, t, y, z = d.input(5), d.temp(5), d.output(5), d.output(5)
    d.store(t, call("exp", x))
    d.store(y, call("sin", t))
    d.store(z, call("cos", t))
    (loop,) = assert_same_results(d.done(), fuse(d.done())).nodes
    assert len([e for e in loop.exprs() if e.op == "apply"]) == 3 and len(loop.effects) == 2


def test_a_sum_joins_its_terms_and_its_readers_do_not_join_it():
    d = Draft()
    x, t, s, y = d.input(3, 4), d.temp(3, 4), d.temp(3), d.output(3, 4)
    d.store(t, call("exp", x))
    d.sum(s, (3, 4), load(t), [1])
    d.store(y, call("divide", t, View(s.buffer, (3, 4), (1, 0))))
    first, second = assert_same_results(d.done(), fuse(d.done())).nodes
    assert [type(effect) for effect in first.effects] == [Store, Accumulate] and second.writes() == [y.buffer]


def test_dear_values_at_other_places_are_not_computed_again_and_cheap_ones_are():
    for name, count in (("exp", 2), ("negative", 1)):
        d = Draft()
        x, t, y = d.input(6), d.temp(6), d.output(4)
        d.store(t, call(name, x))
        d.store(y, call("add", View(t.buffer, (4,), (1,)), View(t.buffer, (4,), (-1,), 5)))
        assert len(assert_same_results(d.done(), fuse(d.done())).nodes) == count


def test_transposed_spaces_merge():
    d = Draft()
    x, t, y = d.input(3, 4), d.temp(3, 4), d.output(4, 3)
    d.store(t, call("exp", x))
    d.store(y, call("sin", t.transpose((1, 0))))
    assert len(assert_same_results(d.done(), fuse(d.done())).nodes) == 1


def test_a_write_does_not_pass_what_reads_the_old_value():
    """t is filled, read, and then added to."""
    for view in ((1,), 0), ((-1,), 4):
        d = Draft()
        x, t, y, z = d.input(5), d.temp(5), d.output(5), d.output(5)
        d.store(t, call("exp", x))
        d.store(y, call("sin", View(t.buffer, (5,), *view)))
        d.loop((5,), Update(t, load(x), "add"))
        d.store(z, load(t))
        assert_same_results(d.done(), fuse(d.done()))


def test_merge_refuses_a_dependence_at_another_place():
    d = Draft()
    x, t, y = d.input(5), d.temp(5), d.output(5)
    first = Loop((5,), [Store(t, call("exp", x))])
    back = View(t.buffer, (5,), (-1,), 4)
    assert merge(first, Loop((5,), [Store(y, load(t))])) is not None
    assert merge(first, Loop((5,), [Store(y, load(back))])) is None
    assert merge(first, Loop((5,), [Store(t, load(x))])) is None
    assert merge(Loop((5,), [Store(y, load(back))]), Loop((5,), [Update(t, load(x), "add")])) is None
    total = View(t.buffer, (5,), (0,))
    assert merge(Loop((5,), [Accumulate(total, load(x), "add")]), Loop((5,), [Store(y, load(total))])) is None
    assert merge(first, Loop((5,), [Store(y, load(t))], ordered=True)) is None
    assert merge(first, Loop((6,), [Store(d.output(6), number(1.0))])) is None
    base = Expr("gather", Aval((), F8), (literal(0, Aval((), I8)),), (View(t.buffer, (5,), (0,)), (1,), (5,), False))
    assert merge(first, Loop((5,), [Store(y, base)])) is None


def test_an_addition_joins_the_store_that_it_adds_to():
    d = Draft()
    x, y = d.input(5), d.output(5)
    d.store(y, call("exp", x))
    d.loop((5,), Update(y, call("sin", x), "add"))
    (loop,) = assert_same_results(d.done(), fuse(d.done())).nodes
    assert [type(effect) for effect in loop.effects] == [Store]


def test_inlining_stops_where_the_source_was_written_again():
    d = Draft()
    x, a, t, y = d.input(5), d.temp(5), d.temp(5), d.output(5)
    d.store(a, load(x))
    d.store(t, call("negative", a))
    d.loop((5,), Update(a, load(x), "add"))
    d.store(y, load(View(t.buffer, (5,), (-1,), 4)))
    d.store(d.output(5), load(a))
    assert_same_results(d.done(), fuse(d.done()))


def test_canonical_drops_unit_axes_and_shares_loads():
    d = Draft()
    x, y = d.input(1, 3, 1), d.output(1, 3, 1)
    loop = canonical(Loop((1, 3, 1), [Store(y, call("add", call("multiply", x, x), x))]))
    assert loop.shape == (3,) and len([e for e in loop.exprs() if e.op == "load"]) == 1


def test_sweep_drops_what_nobody_reads():
    d = Draft()
    x, t, u, y = d.input(3), d.temp(3), d.temp(3), d.output(3)
    d.loop((3,), Store(t, call("exp", x)), Store(y, load(x)))
    d.store(u, load(t))
    (loop,) = assert_same_results(d.done(), sweep(d.done())).nodes
    assert loop.writes() == [y.buffer]
    d.tensors.guards.append((View(u.buffer, (), (), 1), 1.0))
    assert len(sweep(d.done()).nodes) == 2, "a guard reads it"


# ----------------------------------------------------------------------------------------------------------- packing


def distances(points, centres, axes):
    d = Draft()
    p, c, y = d.input(points, axes), d.input(centres, axes), d.output(points, centres)
    shape = (points, centres, axes)
    difference = call("subtract", View(p.buffer, shape, (axes, 0, 1)), View(c.buffer, shape, (0, axes, 1)))
    d.sum(y, shape, call("square", difference), [2])
    return d.done()


def test_small_operands_are_packed_for_long_vectors():
    program = distances(64, 16, 5)
    packed = assert_same_results(program, pack(program))
    copy, _ = packed.nodes
    assert copy.shape == (5, 16) and copy.effects[0].view.is_whole()
    assert len(pack(distances(4, 2, 5)).nodes) == 1, "not worth it"


# -------------------------------------------------------------------------------------------------------------- rows


def softmax(n=32, m=6, transposed=False):
    """e = exp(x); y = e / Σ e, the sum along the second axis or along the first."""
    d = Draft()
    x, e, s, y = d.input(n, m), d.temp(n, m), d.temp(m if transposed else n), d.output(n, m)
    wide = View(s.buffer, (n, m), (0, 1) if transposed else (1, 0))
    d.store(e, call("exp", x))
    d.sum(s, (n, m), load(e), [0 if transposed else 1])
    d.store(y, call("divide", e, wide))
    return d.done()


def test_loops_that_hand_each_other_rows_make_a_nest(small):
    program = fuse(softmax())
    (nest,) = assert_same_results(program, rows(program)).nodes
    assert nest.length == 32 and nest.axes == [0, 0]
    assert {buffer.size for buffer in nest.local} == {32 * 6}


def test_a_loop_that_reads_other_rows_stays_outside(small):
    """The sum over the outer axis is known after the last row only; a reversed reader wants a row to come."""
    program = fuse(softmax(transposed=True))
    found = assert_same_results(program, rows(program))
    for nest in nests(found):
        assert nest.length == 6, "only along the other axis"
    d = Draft()
    x, e, y = d.input(32, 6), d.temp(32, 6), d.output(32, 6)
    d.store(e, call("exp", x))
    d.store(y, call("sin", View(e.buffer, (32, 6), (-6, 1), 31 * 6)))
    assert not any(nest.length == 32 for nest in nests(assert_same_results(d.done(), rows(d.done()))))
    d = Draft()
    x, e, y = d.input(32, 6), d.temp(32, 6), d.output(31, 6)
    d.store(e, call("exp", x))
    d.store(y, call("subtract", View(e.buffer, (31, 6), (6, 1), 6), View(e.buffer, (31, 6), (6, 1))))
    assert not any(nest.length > 6 for nest in nests(assert_same_results(d.done(), rows(d.done()))))


def test_local_arrays_get_the_axis_of_the_nest_outermost(small):
    """Along the second axis of t, whose rows are columns in memory."""
    d = Draft()
    n, m = 5, 32
    x, t, y, s = d.input(m, n), d.temp(n, m), d.output(m, n), d.output(m)
    d.loop((m, n), Store(View(t.buffer, (m, n), (1, m)), call("exp", x)))
    d.loop((n, m), Accumulate(View(s.buffer, (n, m), (0, 1)), load(t), "maximum"))
    d.loop((m, n), Store(y, call("subtract", View(t.buffer, (m, n), (1, m)), View(s.buffer, (m, n), (1, 0)))))
    (nest,) = assert_same_results(d.done(), rows(d.done())).nodes
    (local,) = nest.local
    for loop, axis in zip(nest.loops, nest.axes, strict=True):
        for e in loop.exprs():
            if e.op == "load" and e.data.buffer is local:
                assert e.data.strides[axis] == n


def test_what_is_read_outside_is_not_local(small):
    d = Draft()
    x, t, y, z, a = d.input(32, 6), d.temp(32, 6), d.output(32, 6), d.output(32, 6), d.temp(32, 6)
    d.store(t, call("exp", x))
    d.store(a, call("sin", t))
    d.sum(d.output(32), (32, 6), call("multiply", t, a), [1])
    d.store(y, call("cos", View(a.buffer, (32, 6), (6, 1))))
    d.store(z, call("sin", View(t.buffer, (32, 6), (-6, 1), 31 * 6)))
    found = assert_same_results(d.done(), rows(d.done()))
    (nest,) = nests(found)
    assert {buffer.name for buffer in nest.local} == {"t2"}


def test_loops_between_are_moved_only_where_nothing_depends_on_it(small):
    d = Draft()
    x, e, s, q, y = d.input(32, 6), d.temp(32, 6), d.temp(32), d.temp(1), d.output(32, 6)
    free, total = d.output(7), d.output(1)
    d.store(e, call("exp", x))
    d.store(free, number(3.0))
    d.sum(q, (32, 6), load(e), [0, 1])
    d.store(total, call("sqrt", q))
    d.sum(s, (32, 6), load(e), [1])
    d.store(y, call("divide", call("multiply", e, View(q.buffer, (32, 6), (0, 0))), View(s.buffer, (32, 6), (1, 0))))
    assert_same_results(d.done(), rows(d.done()))
    assert_same_results(d.done(), rows(fuse(d.done())))


# ------------------------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize("how", ["add", "multiply", "maximum", "minimum"])
@pytest.mark.parametrize("length", [64, 65, 1000, 1023])
def test_a_sum_in_parts_gives_the_same(small, how, length):
    d = Draft()
    x, y, z = d.input(length), d.output(1), d.output(length)
    value = call("exp", call("multiply", x, 0.01))
    d.loop((length,), Accumulate(View(y.buffer, (length,), (0,)), value, how), Store(z, value))
    (nest,) = assert_same_results(d.done(), split(d.done())).nodes
    assert list(nest.parts) == [y.buffer] and nest.parts[y.buffer].size == PARTS


def test_nests_run_in_parts_with_memory_of_their_own(small):
    program = split(rows(fuse(softmax(128, 6))))
    (nest,) = nests(assert_same_results(softmax(128, 6), program))
    assert nest.parts == {}
    planned = assert_same_results(program, plan(program))
    (local,) = nest.local
    assert rooms(planned)[local] == PARTS * 6
    assert planned.arena_size >= PARTS * 6 * 8


def test_what_cannot_be_shared_is_not_split(small):
    d = Draft()
    x, t, y = d.input(100), d.temp(1), d.output(2)
    d.store(y, number(0.0))
    d.loop((100,), Update(View(y.buffer, (100,), (0,)), load(x), "add"), ordered=True)
    assert not nests(split(d.done())), "ordered"
    d = Draft()
    x, y = d.input(100), d.output(4)
    d.store(View(y.buffer, (3,), (1,), 1), number(0.0))
    d.loop((100,), Accumulate(View(y.buffer, (100,), (0,), 0), load(x), "add"))
    assert not nests(split(d.done())), "a part of a buffer"
    d = Draft()
    x, y = d.input(63), d.output(63)
    d.store(y, load(x))
    assert not nests(split(d.done())), "too short"
    assert t.size == 1


# -------------------------------------------------------------------------------------------------------------- plan


def lives(program):
    """When each scratch buffer is alive: from the first node that names it to the last, found anew."""
    found = {}
    for k, node in enumerate(program.nodes):
        for buffer in [*node.reads(), *node.writes()]:
            if buffer.kind == "temp":
                first, _ = found.get(buffer, (k, k))
                found[buffer] = first, k
    for view, _ in program.guards:
        if view.buffer in found:
            found[view.buffer] = found[view.buffer][0], len(program.nodes)
    return found


def assert_no_overlap(program):
    sizes, lived = rooms(program), lives(program)
    assert set(program.arena) == set(lived)
    items = []
    for buffer, start in program.arena.items():
        end = start + sizes.get(buffer, buffer.size) * buffer.dtype.itemsize
        assert start % 64 == 0 and end <= max(program.arena_size, end * (buffer.size == 0))
        items.append((buffer, start, end, *lived[buffer]))
    for i, (one, a, b, first, last) in enumerate(items):
        for other, c, e, begin, end in items[i + 1 :]:
            if first <= end and begin <= last:
                assert b <= c or e <= a, f"{one} and {other} share memory while both are alive"
    for node in program.nodes:
        for body in node.bodies if isinstance(node, Control) else ():
            assert_no_overlap(body)


def test_buffers_that_do_not_live_together_share_memory():
    d = Draft()
    x = d.input(100)
    for _ in range(10):
        t = d.temp(100)
        d.store(t, call("exp", x))
        x = t
    d.store(d.output(100), load(View(x.buffer, (100,), (-1,), 99)))
    planned = assert_same_results(d.done(), plan(d.done()))
    assert_no_overlap(planned)
    assert planned.arena_size == 2 * 832, "two of 800 bytes, rounded up to lines of 64"


# ------------------------------------------------------------------------------------------------- whole programs


def staged(function, *args):
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return passes.run(wg.trace(function)(*args))


def assert_stages(program, leaves, expected):
    """Every stage of a list gives what eager gave, and plans no overlap."""
    found = program
    for name, stage in native.STAGES:
        found = stage(found)
        found.check()
        outs = interpret(found, leaves)
        assert outs is not None, name
        for k, (value, want) in enumerate(zip(outs, expected, strict=True)):
            try:
                assert_near(value, want)
            except AssertionError as error:
                raise AssertionError(f"after {name}, output {k}: {error}") from error
    assert_no_overlap(found)


@pytest.mark.parametrize("name", SCALARS)
def test_every_stage_of_real_programs(name, small):
    function, args = SCALARS[name]
    for f in (function, wg.value_and_grad(function)):
        program = staged(f, *args)
        assert_stages(program, tree.flatten(args)[0], tree.flatten(f(*args))[0])


def composed(seed):
    """A random function of matrices with long axes: what it does depends on the seed alone."""

    def f(x, y):
        rng = np.random.default_rng(seed)
        values = [x, y, x[:, 0], y.T]
        total = 0.0
        for _ in range(9):
            v = values[rng.integers(len(values))]
            w = values[rng.integers(len(values))]
            axis = int(rng.integers(v.ndim)) if v.ndim else None
            how = int(rng.integers(13))
            if how == 0:
                v = np.sin(v)
            elif how == 1:
                v = np.tanh(v) * 0.5 + 1
            elif how <= 4 and v.ndim and w.ndim and (v.shape[-1] == w.shape[-1]):
                v = (np.add, np.multiply, np.maximum)[how - 2](v, w)
            elif how == 5 and v.ndim:
                v = v - v.mean(axis=axis, keepdims=True)
            elif how == 6 and v.ndim:
                v = np.exp(v - v.max(axis=axis, keepdims=True))
            elif how == 7 and v.ndim:
                v = np.flip(v, axis)
            elif how == 8 and v.ndim == 2:
                v = v.T
            elif how == 9 and v.ndim:
                start = v.copy()
                start[1:] = v[:-1] * 0.5
                v = start
            elif how == 10 and v.ndim:
                v = np.roll(v, 2, axis) - 0.3 * v
            elif how == 11 and v.ndim:
                total = total + np.sum(v[rng.integers(0, len(v), 7)] ** 2)
            elif how == 12 and v.ndim:
                total = total + np.sum(np.sum(v, axis=axis) ** 2) * 1e-2
            values.append(v)
        return total + sum((k + 1) * np.mean(v**2) for k, v in enumerate(values[4:]))

    return f


@pytest.mark.parametrize("part", range(4))
def test_every_stage_of_random_programs(part, small):
    x, y = made(30 + part, (70, 20), (70, 20))
    for seed in range(part, 16, 4):
        f = wg.value_and_grad(composed(seed), argnums=(0, 1))
        assert_stages(staged(f, x, y), [x, y], tree.flatten(f(x, y))[0])


def scattered(h, ct, index, shape):
    return h("scatter", ct, index=index, shape=shape)


def test_sums_of_scatters_do_not_write_into_what_others_read():
    """v is a sum of scatters; one reader continues it in place only if there is no other."""
    for aliased in (False, True):
        h = Hand()
        a, b, c = h.input((3,)), h.input((2,)), h.input((2, 3))
        v = h("add", scattered(h, a, (slice(0, 3),), (6,)), scattered(h, b, (slice(1, 3),), (6,)))
        turned = h("reshape", v, shape=(2, 3))
        u = h("add", turned, scattered(h, h("getitem", c, index=(slice(0, 1),)), (slice(0, 1),), (2, 3)))
        program = h.returns(u, h("multiply", v, 2.0)) if aliased else h.returns(u)
        leaves = [np.arange(3.0) + 1, np.array([10.0, 20.0]), np.full((2, 3), 100.0)]
        expected = wg.program.evaluate(program, leaves)
        assert_stages(program, leaves, expected)


def test_guards_and_bounds_are_kept():
    h = Hand()
    x = h.input((4,))
    flag = h("greater", h("sum", x, axis=(-1,)), 0.0)
    program = h.returns(h("exp", x), guards=[(flag, np.bool_(True))])
    for name, _ in native.STAGES:
        found = native.tensors(program, name)
        assert interpret(found, [np.ones(4)]) is not None
        assert interpret(found, [-np.ones(4)]) is None


def test_showing_names_every_node():
    program = native.tensors(staged(wg.grad(SCALARS["recurrence"][0]), *SCALARS["recurrence"][1]))
    assert "scan" in repr(program)
    x, y = made(1, (200, 200), (200, 200))
    text = repr(native.tensors(staged(lambda a, b: np.exp(a) @ b, x, y)))
    assert " @ " in text and "return y1" in text


# ------------------------------------------------------------------------------------------------------ seeded faults
# Each makes one piece wrong in a way that a slip could. What is above must notice.


def no_dependence(patch):
    """Loops merge though the second reads other places."""

    def wrong(first, second):
        if first.ordered or second.ordered or first.shape != second.shape:
            return None
        return Loop(first.shape, [*first.effects, *second.effects])

    patch.setattr(fusing, "merge", wrong)


def stale_registers(patch):
    """A load is replaced by what was stored at the mirrored place."""
    right = fusing.merge

    def wrong(first, second):
        stored = {effect.view.buffer: effect.value for effect in first.effects if isinstance(effect, Store)}
        found = right(first, second)
        if found is None and not second.ordered and not first.ordered and first.shape == second.shape:
            changed = fusing.change_loop(
                second, second.shape, lambda e: stored.get(e.data.buffer) if e.op == "load" else None, lambda v: v
            )
            return Loop(first.shape, [*first.effects, *changed.effects])
        return found

    patch.setattr(fusing, "merge", wrong)


def decode_off_by_one(patch):
    def wrong(view, whole):
        found = decode(view, whole)
        if found is None or not found[1]:
            return found
        steps, starts = found
        return steps, [start + (start > 0) for start in starts]

    patch.setattr(fusing, "decode", wrong)


def decode_ignores_direction(patch):
    def wrong(view, whole):
        found = decode(view, whole)
        return None if found is None else ([{k: abs(s) for k, s in step.items()} for step in found[0]], found[1])

    patch.setattr(fusing, "decode", wrong)


def decode_ignores_overflow(patch):
    """Indices that run over into the next row count as indices of one axis."""

    def wrong(view, whole):
        found = decode(view, whole)
        if found is None and len(view.shape) == len(whole.shape):
            return [{k: 1} for k in range(len(view.shape))], [0] * len(view.shape)
        return found

    patch.setattr(fusing, "decode", wrong)


def any_row(patch):
    """A loop joins a nest whatever row it reads."""
    patch.setattr(rowing, "_same_row", lambda view, axis, whole, outer: decode(view, whole) is not None)


def reductions_are_rows(patch):
    """What is summed over the axis of the nest counts as known at each position."""
    right = rowing._Group._fits

    def wrong(self, loop, axis):
        return (
            not any(b in self.written or b in self.read for b in loop.writes())
            if self.loops
            else right(self, loop, axis)
        )

    patch.setattr(rowing._Group, "_fits", wrong)
    patch.setattr(rowing, "_localized", lambda group, local: Nest(group.length, group.loops, group.axes, set()))


def everything_is_local(patch):
    right = rowing._localized
    patch.setattr(
        rowing, "_localized", lambda group, local: right(group, {b for b in group.stores if b.kind == "temp"})
    )


def local_as_it_lay(patch):
    """Local arrays keep their layout, though only one row of them exists."""
    patch.setattr(rowing, "_localized", lambda group, local: Nest(group.length, group.loops, group.axes, local))


def no_liveness(patch):
    """All scratch begins at 0."""

    def wrong(program):
        planned = plan(program)
        planned.arena = dict.fromkeys(planned.arena, 0)
        return planned

    replace_stage(patch, "plan", wrong)


def lives_end_early(patch):
    """A buffer is free before the node that reads it last."""

    def wrong(program):
        shorter = Tensors.with_nodes(program, program.nodes)
        for k, node in enumerate(program.nodes[:-1]):
            if isinstance(node, Loop):
                rest = {b for later in program.nodes[k + 2 :] for b in later.reads()}
                shorter.nodes = [*shorter.nodes]
                shorter.nodes[k] = _Without(node, [b for b in node.reads() if b not in rest])
        planned = plan(shorter)
        planned.nodes = program.nodes
        for node in program.nodes:
            for buffer in (*node.reads(), *node.writes()):
                if buffer.kind == "temp":
                    planned.arena.setdefault(buffer, 0)
        return planned

    replace_stage(patch, "plan", wrong)


class _Without:
    """A node that does not admit to reading some of its buffers."""

    def __init__(self, node, hidden):
        self.node = node
        self.hidden = hidden

    def reads(self):
        return [b for b in self.node.reads() if b not in self.hidden]

    def writes(self):
        return self.node.writes()


def rows_of_a_plan_for_one(patch):
    """Local memory has room for one part only."""
    patch.setattr(planning, "PARTS", 1)


def inline_old_values(patch):
    """A value is computed again though what it is made of was written since."""
    right = fusing.inline
    patch.setattr(fusing, "inline", lambda loop, nodes, last: right(loop, nodes, _Places(last)))


class _Places(dict):
    """Last writes as they were when each buffer was first written."""

    def get(self, key, default=None):
        return dict.get(self, key, default) if default is None else -1


def forgets_the_last_part(patch):
    def wrong(node):
        found = splitting_split(node)
        if isinstance(found, Nest) and found.parts is not None:
            return Nest(found.length - found.length // PARTS, found.loops, found.axes, found.local, found.parts)
        return found

    splitting_split = splitting._split
    patch.setattr(splitting, "_split", wrong)


def parts_without_sums(patch):
    """Parts add to the one result, each from the beginning."""
    right = splitting._split

    def wrong(node):
        found = right(node)
        return (
            Nest(found.length, found.loops, found.axes, found.local, {})
            if isinstance(found, Nest) and found.parts
            else found
        )

    patch.setattr(splitting, "_split", wrong)


def wrong_identity(patch):
    right = scalars.identity
    patch.setattr(
        scalars,
        "identity",
        lambda name, dtype: dtype.type(0) if name in ("maximum", "multiply") else right(name, dtype),
    )


def not_begun(patch):
    """What sums begin from is not written."""
    patch.setattr(scalars, "identity", lambda name, dtype: garbage(dtype, 1)[0])


def sweeps_too_much(patch):
    """Only the first store of a loop is kept."""

    def wrong(program):
        swept = sweep(program)
        return swept.with_nodes(
            [Loop(n.shape, n.effects[:1], n.ordered) if isinstance(n, Loop) else n for n in swept.nodes]
        )

    patch.setattr(fusing, "sweep", wrong)


def reversed_order(patch):
    """The nodes that nothing keeps in place come before those that they need."""

    def wrong(program):
        found = fuse(program)
        return found.with_nodes(found.nodes[::-1])

    replace_stage(patch, "fuse", wrong)


def packs_as_it_lies(patch):
    """A packed copy is filled in the order of the original."""
    right = packing._packed

    def wrong(loop):
        copies, changed = right(loop)
        for copy in copies:
            (effect,) = copy.effects
            source = effect.value.data
            flat = Expr("load", effect.value.aval, (), View(source.buffer, source.shape, row_major(source.shape)))
            copy.effects[0] = effect._replace(value=flat)
        return copies, changed

    patch.setattr(packing, "_packed", wrong)


def swapped_axes(patch):
    """`reshaped` takes one axis for another."""
    right = fusing._permuted

    def wrong(first, second):
        found = right(first, second)
        if (
            found is None
            and sorted(first.shape) == sorted(second.shape)
            and first.shape != second.shape
            and not second.ordered
        ):
            views = {
                view: View(view.buffer, first.shape, view.strides, view.offset) for view in fusing._all_views(second)
            }
            if any(e.op in ("index", "gather") for e in second.exprs()):
                return None
            return fusing.change_loop(second, first.shape, lambda e: fusing._with_view(e, views), lambda v: views[v])
        if found is None:
            return None
        views = {v: View(v.buffer, v.shape, v.strides[::-1], v.offset) for v in fusing._all_views(found)}
        return fusing.change_loop(found, found.shape, lambda e: fusing._with_view(e, views), lambda v: views[v])

    patch.setattr(fusing, "_permuted", wrong)


def replace_stage(patch, name, stage):
    patch.setattr(native, "STAGES", [(n, stage if n == name else s) for n, s in native.STAGES])


FAULTS = [
    no_dependence, stale_registers, decode_off_by_one, decode_ignores_direction, decode_ignores_overflow, any_row,
    reductions_are_rows, everything_is_local, local_as_it_lay, no_liveness, lives_end_early, rows_of_a_plan_for_one,
    inline_old_values, forgets_the_last_part, parts_without_sums, wrong_identity, not_begun, sweeps_too_much,
    reversed_order, packs_as_it_lies, swapped_axes,
]  # fmt: skip


def overwritten():
    """A program whose inlined values would change: a is negated into t, then a is added to."""
    d = Draft()
    x, a, t, y = d.input(5, 3), d.temp(5), d.temp(5), d.output(5)
    d.sum(a, (5, 3), load(x), [1])
    d.store(t, call("negative", a))
    d.loop((5,), Update(View(a.buffer, (5,), (-1,), 4), load(View(x.buffer, (5,), (1,))), "add"))
    d.store(y, call("add", View(t.buffer, (5,), (-1,), 4), a))
    return d.done()


def mirrored():
    """A reader of rows in the opposite order, beside one that reads them as they come."""
    d = Draft()
    x, t, y, s = d.input(70, 6), d.temp(70, 6), d.output(70, 6), d.output(70)
    d.store(t, call("exp", x))
    d.sum(s, (70, 6), load(t), [1])
    d.store(y, call("sin", View(t.buffer, (70, 6), (-6, 1), 69 * 6)))
    cheap = d.temp(70, 6)
    d.store(cheap, call("negative", x))
    d.store(d.output(70, 6), call("sin", View(cheap.buffer, (70, 6), (-6, 1), 69 * 6)))
    return d.done()


def below_zero():
    d = Draft()
    x, y = d.input(70, 6), d.output(70)
    d.sum(y, (70, 6), call("negative", call("exp", x)), [1], "maximum")
    d.sum(d.output(1), (70, 6), call("negative", call("exp", x)), [0, 1], "maximum")
    return d.done()


def turned():
    d = Draft()
    x, t, y = d.input(3, 4), d.temp(3, 4), d.output(4, 3)
    d.store(t, call("exp", x))
    d.store(y, call("sin", t.transpose((1, 0))))
    return d.done()


def programs_that_notice():
    """Small programs, in tensor form, which between them use every piece of every stage."""
    yield overwritten()
    yield turned()
    yield mirrored()
    yield below_zero()
    yield softmax(70, 6)
    yield softmax(70, 20, transposed=True)
    yield distances(64, 16, 5)
    for seed in (1, 2, 5):
        x, y = made(50, (70, 20), (70, 20))
        yield lower(staged(wg.value_and_grad(composed(seed)), x, y))


@pytest.fixture(scope="module")
def noticing():
    return [(program, inputs_of(program), interpret(program, inputs_of(program))) for program in programs_that_notice()]


def check_all(noticing):
    for program, leaves, expected in noticing:
        found = program
        for _, stage in native.STAGES[1:]:
            found = stage(found)
            found.check()
        outs = interpret(found, leaves)
        for value, want in zip(outs, expected, strict=True):
            assert_near(value, want)
        assert_no_overlap(found)


def test_the_programs_are_right_without_faults(noticing, small):
    check_all(noticing)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_faults_are_noticed(fault, noticing, small, monkeypatch):
    fault(monkeypatch)
    with pytest.raises((AssertionError, errors.ProgramError, IndexError, ValueError, KeyError)):
        check_all(noticing)
