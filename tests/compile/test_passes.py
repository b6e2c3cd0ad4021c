"""Each pass alone, on lists written by hand; and that the tests would notice if one were wrong."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from tests.compile.handmade import F8, I8, Hand, assert_same, body, names
from tests.compile.rewrites import APPLIES, REFUSED, listed
from wengert.compile import passes
from wengert.compile.passes import cse, dead, editing, fold, simplify
from wengert.compile.passes.sweep import Sweep

ROWS = {row.__name__: (name, row) for name, row in [*simplify.ROWS, *(("", row) for row in simplify.EVERYWHERE)]}


def only(row_name):
    """Simplify with a single row."""
    row = ROWS[row_name][1]
    chosen = [(name, other) for name, other in simplify.ROWS if other is row]
    return lambda program: Sweep(program, simplify.table(chosen), [x for x in simplify.EVERYWHERE if x is row]).run()


def ident(case):
    name, build = case
    return f"{name}-{inspect.getsourcelines(build)[1]}"


@pytest.mark.parametrize("case", APPLIES, ids=ident)
def test_a_row_applies_and_is_right(case):
    name, build = case
    before = listed(build)
    after = only(name)(before)
    assert (names(after), repr(after)) != (names(before), repr(before))
    assert_same(before, after, rounds=ROWS[name][1] in simplify.ROUNDS)


@pytest.mark.parametrize("case", REFUSED, ids=ident)
def test_a_row_does_not_apply_where_it_would_be_wrong(case):
    name, build = case
    before = listed(build)
    after = only(name)(before)
    assert names(after) == names(before)
    assert repr(after) == repr(before)


def test_every_row_is_tested_where_it_applies():
    assert {name for name, _ in APPLIES} == set(ROWS)
    assert {name for name, _ in REFUSED} <= set(ROWS)


@pytest.mark.parametrize("case", [*APPLIES, *REFUSED], ids=ident)
def test_all_passes_leave_a_list_what_it_is(case):
    before = listed(case[1])
    after = passes.run(before)
    assert_same(before, after, rounds=True)
    assert passes.run(after) is after


# ------------------------------------------------------------------------------------------------------------------ cse


def test_equal_lines_become_one():
    h = Hand()
    x, y = h.input((4,)), h.input((4,))
    one, two = h("sin", x), h("sin", x)
    program = h.returns(h("multiply", one, y), h("multiply", y, two), h("subtract", one, y), h("subtract", y, one))
    after = cse.run(program)
    assert names(after) == ["sin", "multiply", "subtract", "subtract"]
    assert_same(program, after)


def test_what_no_line_may_confuse_stays_apart():
    h = Hand()
    x, y = h.input((4,)), h.input((4,))
    program = h.returns(
        h("add", x, 0.0),
        h("add", x, -0.0),
        h("power", x, 1),
        h("power", x, 1.0),
        h("multiply", x, True),
        h("multiply", x, 1),
        h("multiply", x, np.float64(1)),
        h("add", x, np.zeros(4)),
        h("add", x, -np.zeros(4)),
        h("add", x, np.zeros(1)),
        h("maximum", x, y),
        h("maximum", y, x),
        h("getitem", x, index=(slice(0, 2),)),
        h("getitem", x, index=(slice(0, 2, None), None)),
        h("getitem", x, index=(1,)),
        h("getitem", x, index=(True,)),
        h("getitem", x, index=(np.array([1]),)),
        h("getitem", x, index=(np.array([1, 1]),)),
        h("sum", x, axis=(-1,)),
        h("sum", x, axis=(-1,), keepdims=True),
        h("less", x, y),
        h("less", y, x),
        h("cast", x, dtype=np.dtype("f4")),
        h("cast", x, dtype=np.dtype("f2")),
        h("multiply", x, np.nan),
        h("multiply", x, 0.5),
    )
    after = cse.run(program)
    assert after is program


def test_equal_params_may_be_different_objects():
    h = Hand()
    x = h.input((4,))
    pairs = [
        ("getitem", {"index": (np.array([1, 2]), None)}),
        ("getitem", {"index": (slice(1, None), ..., None)}),
        ("sum", {"axis": (-1,)}),
        ("cast", {"dtype": np.dtype("f4")}),
    ]
    outs = [h(name, x, **{k: copied(v) for k, v in params.items()}) for name, params in pairs for _ in range(2)]
    nan = [h("add", x, np.full(4, np.nan)) for _ in range(2)]
    program = h.returns(*outs, *nan)
    after = cse.run(program)
    assert len(after) == 5 and len(after.constants) == 1
    assert_same(program, after)


def test_a_default_that_is_given_is_no_difference():
    h = Hand()
    x = h.input((4,))
    program = h.returns(h("sum", x, axis=(-1,)), h("sum", x, axis=(-1,), keepdims=False, dtype=None))
    after = cse.run(program)
    assert len(after) == 1
    assert_same(program, after)


def copied(value):
    if isinstance(value, tuple):
        return tuple(map(copied, value))
    return (
        value.copy()
        if isinstance(value, np.ndarray)
        else slice(value.start, value.stop)
        if type(value) is slice
        else value
    )


def test_a_line_of_ours_that_equals_a_users_may_warn():
    h = Hand()
    x = h.input((4,))
    program = h.returns(h("log", x, quiet=True), h("log", x))
    (line,) = cse.run(program).equations
    assert not line.quiet


# ----------------------------------------------------------------------------------------------------------------- fold


def test_what_is_known_is_computed():
    h = Hand()
    x = h.input((2,))
    c = h("matmul", np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, -1.0]))
    n = h("multiply", h("add", 1, 2), 0.5)
    program = h.returns(h("add", x, c), h("add", x, n), c, h("divide", np.array([1.0, 0.0]), 0.0, quiet=True))
    after = fold.run(program)
    assert names(after) == ["add", "add"]
    assert_same(program, after)


def test_what_is_large_raises_or_depends_on_an_input_is_left():
    h = Hand()
    x = h.input((2,))
    large = h("outer", np.ones(100), np.ones(100))
    raises = h("cholesky", -np.eye(2))
    program = h.returns(large, h("broadcast_to", 2.0, shape=(1000,)), raises, h("add", x, 1.0))
    assert fold.run(program) is program


def test_a_folded_array_is_no_view_of_a_constant():
    h = Hand()
    c = np.arange(6.0)
    program = h.returns(h("getitem", c, index=(slice(2),)), h("reshape", c, shape=(2, 3)))
    after = fold.run(program)
    assert len(after) == 0
    assert not any(np.may_share_memory(value, c) for var, value in after.constants if value is not c)


# ----------------------------------------------------------------------------------------------------------------- dead


def test_what_nothing_needs_is_left_out():
    h = Hand()
    x, y = h.input((4,)), h.input((4,))
    h("exp", h("sin", y))
    h("add", y, np.ones(4))
    _, second = h("modf", x)
    program = h.returns(second)
    after = dead.run(program)
    assert names(after) == ["modf"] and not after.constants and after.inputs == [x, y]
    assert_same(program, after)


def test_guards_keep_what_they_ask_for():
    h = Hand()
    x = h.input()
    positive = h("greater", h("multiply", x, 1.0), 0.0)
    same = h("greater", x, 0.0)
    always = h("add", 1, 1)
    program = h.returns(h("sin", x), guards=[(positive, np.True_), (same, np.True_), (always, np.int64(2))])
    after = passes.run(program)
    assert names(after) == ["greater", "sin"]
    assert {var for var, _ in after.guards} == {after.equations[0].outputs[0]}
    assert_same(program, after)


def test_a_guard_that_is_known_to_fail_still_fails():
    h = Hand()
    x = h.input()
    program = h.returns(h("sin", x), guards=[(h("add", 1, 1), np.int64(3))])
    assert_same(program, passes.run(program))


# ------------------------------------------------------------------------------------------------------------- controls


def test_a_scan_loses_what_nothing_needs():
    h = Hand()
    w, unused, start, other, xs, more = (h.input(s) for s in ((), (), (), (), (5,), (5,)))

    def step(h, w, unused, s, t, u, x, y):
        dead_end = h("add", t, unused)
        return h("multiply", h("add", s, x), w), dead_end, h("cos", u), h("sin", y), h("multiply", s, 2.0)

    loop = body(step, *[((), F8)] * 7)
    results = h("scan", w, unused, start, other, other, xs, more, body=loop, consts=2, carry=3, length=5, reverse=False)
    program = h.returns(results[0], results[4])
    after = passes.run(program)
    (line,) = after.equations
    assert len(line.inputs) == 3 and len(line.outputs) == 2 and line.params["consts"] == 1 and line.params["carry"] == 1
    assert names(line.params["body"]) == ["add", "multiply", "multiply"]
    assert_same(program, after, rounds=True)


def test_a_carry_that_another_needs_stays():
    h = Hand()
    start, xs = h.input(), h.input((4,))
    loop = body(lambda h, a, b, c, x: (h("add", a, b), h("add", b, c), h("multiply", c, x)), *[((), F8)] * 4)
    results = h("scan", start, start, start, xs, body=loop, consts=0, carry=3, length=4, reverse=True)
    program = h.returns(results[0])
    assert len(dead.run(program).equations[0].inputs) == 4
    assert_same(program, passes.run(program))


def test_a_while_loop_keeps_what_its_test_needs():
    h = Hand()
    limit, k, x, y = h.input(dtype=I8), h.input(dtype=I8), h.input(), h.input()
    test = body(lambda h, limit, k, x, y: h("less", k, limit), ((), I8), ((), I8), ((), F8), ((), F8))
    step = body(lambda h, k, x, y: (h("add", k, 1), h("multiply", x, 0.5), h("sin", y)), ((), I8), ((), F8), ((), F8))
    results = h("while_loop", limit, k, x, y, test=test, body=step, test_consts=1, body_consts=0)
    program = h.returns(results[1])
    after = passes.run(program)
    assert len(after.equations[0].inputs) == 3
    assert_same(program, after)


def test_nothing_is_known_of_the_results_of_loops_but_their_own_dtype():
    h = Hand()
    k, x, y = h.input(dtype=I8), h.input(), h.input()
    loop = body(lambda h, k, x: (h("add", k, 1), h("multiply", x, x)), ((), I8), ((), F8))
    _, last = h("scan", k, x, body=loop, consts=0, carry=2, length=2, reverse=False)
    program = h.returns(h("scale", y, h("multiply", 2.0, last)))
    assert names(simplify.run(program)) == ["scan", "multiply", "scale"]
    assert_same(program, passes.run(program))


def test_branches_lose_what_nothing_needs():
    h = Hand()
    index, x, y = h.input(dtype=I8), h.input((3,)), h.input((3,))
    one = body(lambda h, x, y: (h("sin", x), h("exp", y)), ((3,), F8), ((3,), F8))
    two = body(lambda h, x, y: (h("cos", x), h("log", x)), ((3,), F8), ((3,), F8))
    results = h("switch", index, x, y, branches=(one, two))
    program = h.returns(results[0])
    after = passes.run(program)
    assert len(after.equations[0].inputs) == 2 and [names(b) for b in after.equations[0].params["branches"]] == [
        ["sin"],
        ["cos"],
    ]
    assert_same(program, after)


def test_what_is_the_same_in_every_step_is_computed_before_the_loop():
    h = Hand()
    w, x, start, xs = h.input((3, 3)), h.input((3,)), h.input((3,)), h.input((5, 3))

    def step(h, w, x, s, still, row):
        fixed = h("sin", h("matmul", h("transpose", w, axes=(-1, -2)), h("add", x, np.arange(3.0))))
        return h("add", h("multiply", s, fixed), h("multiply", row, still)), still, h("multiply", row, still)

    loop = body(step, ((3, 3), F8), ((3,), F8), ((3,), F8), ((3,), F8), ((3,), F8))
    results = h("scan", w, x, start, start, xs, body=loop, consts=2, carry=2, length=5, reverse=False)
    program = h.returns(*results)
    after = passes.run(program)
    assert names(after)[-1] == "scan" and {"sin", "matmul", "add"} <= set(names(after))
    inner = after.equations[-1].params
    assert inner["carry"] == 1 and names(inner["body"]) == ["multiply", "multiply", "add"]
    assert after.outputs[1] is start
    assert_same(program, after, rounds=True)


def test_a_while_loop_passes_on_what_it_does_not_change():
    h = Hand()
    limit, k, x, y = h.input(dtype=I8), h.input(dtype=I8), h.input(), h.input()
    test = body(lambda h, limit, k, x, y: h("less", k, h("add", limit, 2)), ((), I8), ((), I8), ((), F8), ((), F8))

    def step(h, c, k, x, y):
        return h("add", k, 1), h("multiply", h("multiply", x, h("sin", h("exp", c))), h("tanh", y)), y

    loop = body(step, ((), F8), ((), I8), ((), F8), ((), F8))
    results = h("while_loop", limit, x, k, x, y, test=test, body=loop, test_consts=1, body_consts=1)
    program = h.returns(*results)
    after = passes.run(program)
    assert names(after) == ["exp", "sin", "tanh", "while_loop"] or set(names(after)) == {
        "exp",
        "sin",
        "tanh",
        "while_loop",
    }
    assert len(after.equations[-1].outputs) == 2
    assert_same(program, after, rounds=True)


def test_what_may_raise_is_not_computed_for_a_loop_that_makes_no_step():
    h = Hand()
    w, x, xs = h.input((2, 2)), h.input((2, 2)), h.input((0, 2, 2))
    loop = body(lambda h, w, s, r: h("add", h("cholesky", w), s), ((2, 2), F8), ((2, 2), F8), ((2, 2), F8))
    (result,) = h("scan", w, x, xs, body=loop, consts=1, carry=1, length=0, reverse=False)
    assert names(passes.run(h.returns(result))) == ["scan"]


def test_bodies_are_optimised_and_stay_shared():
    h = Hand()
    x = h.input()
    double = body(lambda h, x: h("add", h("multiply", x, 1.0), h("sin", x)), ((), F8))
    (one,), (two,) = h("call", x, body=double), h("call", x, body=double)
    after = passes.run(h.returns(h("add", one, two)))
    assert names(after) == ["call", "multiply"]
    assert names(after.equations[0].params["body"]) == ["sin", "add"]


# ---------------------------------------------------------------------------------------------------------- as a whole


def test_passes_are_a_literal_list_and_upto_stops_after_one():
    h = Hand()
    x = h.input((4,))
    h("exp", x)
    program = h.returns(h("multiply", h("sin", x), 1.0), h("sin", x), h("add", x, h("add", 1.0, 2.0)))
    assert [name for name, _ in passes.PASSES] == ["simplify", "fold", "cse", "hoist", "dead"]
    lengths = [len(passes.run(program, name)) for name, _ in passes.PASSES]
    assert lengths == sorted(lengths, reverse=True) and lengths[-1] == 2 and lengths[0] > 2
    assert passes.run(program) is passes.run(program)


def test_a_list_is_never_changed():
    for _, build in APPLIES:
        before = listed(build)
        text, primitives, constants = repr(before), names(before), [value.copy() for _, value in before.constants]
        passes.run(before)
        assert (repr(before), names(before)) == (text, primitives)
        assert all(np.array_equal(x, y, equal_nan=True) for x, (_, y) in zip(constants, before.constants, strict=True))


def test_new_names_are_stable():
    build = next(build for name, build in APPLIES if name == "scatter_joint")
    assert repr(passes.run(listed(build))) == repr(passes.run(listed(build)))
    assert [editing.letters(k) for k in (0, 25, 26, 27, 701, 702)] == ["a", "z", "aa", "ab", "zz", "aaa"]


def long_chain(n):
    """A list in which every kind of pass has much to do, with chains as long as it is."""
    h = Hand()
    x = h.input((n,))
    total = y = x
    rows = []
    for k in range(n // 10):
        y = h("multiply", h("multiply", h("add", h("negative", y), h("add", h("exp", x), 0.0)), 1.0), 0.5)
        total = h("setitem", total, 0.5, index=(k,))
        rows.append(h("scatter", h("getitem", y, index=(k,)), index=(k,), shape=(n,)))
    for row in rows[1:]:
        rows[0] = h("add", rows[0], row)
    return h.returns(total, rows[0], y)


def work(program):
    """How many lines of Python the passes take: a time that does not depend on the machine."""
    import sys

    count = 0

    def trace(frame, event, arg):
        nonlocal count
        count += 1
        return trace

    sys.settrace(trace)
    try:
        passes.run(program)
    finally:
        sys.settrace(None)
    return count


def test_time_is_linear(monkeypatch):
    monkeypatch.setattr(passes, "DEBUG", False)
    small, large = work(long_chain(500)), work(long_chain(4000))
    assert large < 10 * small, (small, large)
