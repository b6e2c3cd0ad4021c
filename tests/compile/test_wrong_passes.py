"""Passes with faults seeded into them: what tests the passes must notice each."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile import handmade
from tests.compile.handmade import B1, F4, F8, I8, Hand, assert_same, body
from tests.compile.rewrites import REFUSED, listed, read, write
from wengert.compile import passes
from wengert.compile.passes import control, cse, dead, facts, fold, indexing, simplify
from wengert.compile.passes.sweep import Sweep, line
from wengert.core import aval_of
from wengert.errors import ProgramError
from wengert.program import Literal

V = (4,)
WRONG = []  # (primitive, rewrite, list on which it is wrong)
NOTICED = (AssertionError, ProgramError)


def wrong(primitive, build):
    def enter(rewrite):
        WRONG.append((primitive, rewrite, build))
        return rewrite

    return enter


def zero(like):
    return Literal(like.aval.dtype.type(0))


@wrong("add", lambda h: h("add", h.input(V), 0.0))
def x_plus_zero_is_x(s, e):
    return e.inputs[0] if s.number(e.inputs[1]) == 0 else None


@wrong("subtract", lambda h: h("subtract", 0.0, h.input()))
def zero_minus_x_is_minus_x(s, e):
    return line("negative", e.inputs[1]) if s.number(e.inputs[0]) == 0 else None


@wrong("multiply", lambda h: h("multiply", h.input(), np.float64(0.0)))
def x_times_zero_is_zero(s, e):
    return e.inputs[1] if s.number(e.inputs[1]) == 0 else None


@wrong("divide", lambda h: (lambda x: h("divide", x, x))(h.input()))
def x_over_x_is_one(s, e):
    return Literal(np.float64(1)) if e.inputs[0] is e.inputs[1] else None


@wrong("subtract", lambda h: (lambda x: h("subtract", x, x))(h.input()))
def x_minus_x_is_zero(s, e):
    return Literal(np.float64(0)) if e.inputs[0] is e.inputs[1] else None


@wrong("divide", lambda h: h("divide", h.input(V), 3.0))
def a_quotient_is_a_product_with_the_reciprocal(s, e):
    return line("multiply", e.inputs[0], Literal(1 / s.number(e.inputs[1])))


@wrong("negative", lambda h: h("negative", h("subtract", h.input(), h.input())))
def minus_a_difference_is_the_difference_turned_round(s, e):
    inner = s.maker(e.inputs[0], "subtract")
    return None if inner is None else line("subtract", inner.inputs[1], inner.inputs[0])


@wrong("subtract", lambda h: h("subtract", h.input(V), h("negative", h.input(V))))
def operands_of_a_difference_are_swapped(s, e):
    inner = s.maker(e.inputs[1], "negative")
    return None if inner is None else line("subtract", inner.inputs[0], e.inputs[0])


@wrong("subtract", lambda h: h("subtract", h.input((99,)), h("negative", h.input((99,), I8))))
def minus_zero_is_forgotten_for_integers(s, e):
    inner = s.maker(e.inputs[1], "negative")
    return None if inner is None else line("add", e.inputs[0], inner.inputs[0])


@wrong("sqrt", lambda h: h("sqrt", h("square", h.input())))
def the_root_of_a_square_is_the_absolute_value(s, e):
    inner = s.maker(e.inputs[0], "square")
    return None if inner is None else line("absolute", inner.inputs[0])


@wrong("exp", lambda h: h("exp", h("log", h.input())))
def exp_of_log_is_nothing(s, e):
    inner = s.maker(e.inputs[0], "log")
    return None if inner is None else inner.inputs[0]


@wrong("power", lambda h: h("power", h.input(V), np.full(V, 0.5)))
def a_root_is_a_power_of_a_half_everywhere(s, e):
    return line("sqrt", e.inputs[0]) if s.number(e.inputs[1]) == 0.5 else None


@wrong("multiply", lambda h: h("multiply", h("multiply", h.input(), 0.3), 0.7))
def products_are_reassociated(s, e):
    inner = s.maker(e.inputs[0], "multiply")
    both = s.number(e.inputs[1]), None if inner is None else s.number(inner.inputs[1])
    return None if None in both else line("multiply", inner.inputs[0], Literal(both[0] * both[1]))


@wrong("scale", lambda h: h("scale", h.input(), h.input()))
def scale_is_a_product(s, e):
    return line("multiply", *e.inputs)


@wrong("scale", lambda h: h("scale", 0.0, h.input()))
def scale_of_zero_is_plus_zero(s, e):
    return (
        e.inputs[0]
        if s.number(e.inputs[0]) == 0 and s.literal(e.inputs[0]).aval == e.outputs[0].aval
        else zero(e.outputs[0])
    )


@wrong("scale", lambda h: h("scale", h.input(V, B1), h.input(V)))
def scale_by_a_mask_is_a_choice(s, e):
    return line("where", *e.inputs, zero(e.inputs[1]))


@wrong("both", lambda h: h("both", h.input(), h.input()))
def both_is_scale(s, e):
    return line("scale", *e.inputs)


@wrong("where", lambda h: h("where", h("logical_not", h.input(V, B1)), h.input(V), h.input(V)))
def choices_are_not_swapped(s, e):
    inner = s.maker(e.inputs[0], "logical_not")
    return None if inner is None else line("where", inner.inputs[0], *e.inputs[1:])


@wrong("maximum", lambda h: h("maximum", h.input(), h.input()))
def the_larger_by_comparison(s, e):
    x, y = e.inputs
    return line("where", s.new("greater", x, y), x, y) if x.aval.shape else line("fmax", x, y)


@wrong("cast", lambda h: h("cast", h("cast", h.input(V), dtype=F4), dtype=F8))
def casts_lose_nothing(s, e):
    inner = s.maker(e.inputs[0], "cast")
    return None if inner is None else inner.inputs[0]


@wrong("transpose", lambda h: h("transpose", h("transpose", h.input((2, 2, 2)), axes=(-1, -3, -2)), axes=(-2, -3, -1)))
def transposes_are_composed_the_wrong_way_round(s, e):
    inner = s.maker(e.inputs[0], "transpose")
    if inner is None:
        return None
    return line("transpose", inner.inputs[0], axes=tuple(e.params["axes"][k] for k in inner.params["axes"]))


@wrong("transpose", lambda h: h("transpose", h.input((2, 2)), axes=(-1, -2)))
def a_transpose_is_a_reshape(s, e):
    return line("reshape", e.inputs[0], shape=e.outputs[0].aval.shape)


@wrong("sum", lambda h: h("sum", h.input((4, 1)), axis=(-1,)))
def a_sum_of_one_is_the_one(s, e):
    return line("reshape", e.inputs[0], shape=e.outputs[0].aval.shape)


@wrong("scatter", lambda h: h("scatter", h.input(V), index=(slice(None),), shape=V))
def a_scatter_over_all_keeps_minus_zero(s, e):
    return e.inputs[0]


@wrong("add", lambda h: h("add", *(h("scatter", h.input((2,)), index=(slice(k, k + 2),), shape=V) for k in (0, 2))))
def parts_are_joined_in_the_order_of_the_sum(s, e):
    pieces = [s.maker(x, "scatter").inputs[0] for x in e.inputs[::-1]]
    return line("concatenate", *pieces, axis=-1, starts=(0, 2))


@wrong("add", lambda h: h("add", *(h("scatter", h.input((2,)), index=(slice(k, k + 2),), shape=V) for k in (0, 2))))
def joined_parts_keep_minus_zero(s, e):
    pieces = [s.maker(x, "scatter").inputs[0] for x in e.inputs]
    return line("concatenate", *pieces, axis=-1, starts=(0, 2))


@wrong("getitem", lambda h: read(h, write(h, h.input(V), h.input((2,)), slice(2)), slice(1, 3)))
def reads_pass_by_every_write(s, e):
    inner = s.maker(e.inputs[0], "setitem")
    return None if inner is None else line("getitem", inner.inputs[0], **e.params)


@wrong("getitem", lambda h: read(h, write(h, h.input(V), h.input((2,)), np.array([1, 1])), np.array([1, 1])))
def what_is_read_is_what_was_written(s, e):
    inner = s.maker(e.inputs[0], "setitem")
    return None if inner is None else inner.inputs[1]


@wrong("setitem", lambda h: write(h, write(h, h.input(V), h.input((2,)), slice(2)), h.input((2,)), slice(1, 3)))
def every_write_hides_the_one_before(s, e):
    inner = s.maker(e.inputs[0], "setitem")
    return None if inner is None else line("setitem", inner.inputs[0], e.inputs[1], **e.params)


@wrong("setitem", lambda h: write(h, h.input(V, F4), h.input(V), ...))
def a_written_value_keeps_its_dtype(s, e):
    return line("positive", e.inputs[1])


@wrong("add", lambda h: h("add", h("broadcast_to", h.input(weak=True), shape=V), h.input(V, F4)))
def a_weak_number_is_taken_for_its_broadcast(s, e):
    inner = s.maker(e.inputs[0], "broadcast_to")
    return None if inner is None else line("add", inner.inputs[0], e.inputs[1])


@wrong("multiply", lambda h: h("multiply", h.input(weak=True), 1.0))
def a_python_number_is_taken_for_numpys(s, e):
    e.outputs[0].aval = aval_of(0.0)  # what the row's own check would refuse
    return e.inputs[0]


def rewriting(primitive, rewrite):
    return lambda program: Sweep(program, {primitive: [rewrite]}, []).run()


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[1].__name__)
def test_a_wrong_rewrite_is_noticed_or_refused(case):
    primitive, rewrite, build = case
    program = listed(build)
    avals = [atom.aval for atom in program.outputs]
    after = rewriting(primitive, rewrite)(program)
    if "_weak_" in rewrite.__name__ or "dtype" in rewrite.__name__:  # the sweep refuses results of another dtype
        assert after is program
        return
    with pytest.raises(NOTICED):
        assert [atom.aval for atom in after.outputs] == avals
        assert_same(program, after)


def test_there_are_enough_wrong_rewrites():
    assert len(WRONG) > 30


# ---------------------------------------------------------------------------------------------------------- wrong facts

WRONG_FACTS = {
    "subtract": lambda eqn, x, y: facts.Fact(facts.POSITIVE),
    "multiply": lambda eqn, x, y: facts.Fact((x.flags | y.flags) & facts.ALL),
    "exp": lambda eqn, x: facts.Fact(facts.POSITIVE | facts.NONZERO),
    "sqrt": lambda eqn, x: facts.Fact(facts.POSITIVE),
    "negative": lambda eqn, x: x,
    "maximum": lambda eqn, x, y: facts.Fact((x.flags | y.flags) & facts.ALL),
    "tanh": lambda eqn, x: facts.Fact(0, 1.0),
    "add": lambda eqn, x, y: facts.Fact(0, min(x.bound, y.bound)),
    "where": lambda eqn, c, x, y: x,
}


@pytest.mark.parametrize("name", WRONG_FACTS)
def test_a_wrong_fact_is_noticed(monkeypatch, name):
    monkeypatch.setitem(facts.RULES, name, WRONG_FACTS[name])
    more = [
        lambda h: h("add", h("where", h.input(V, B1), np.exp(1.0), h.input(V)), 0.0),
        lambda h: h("absolute", h("negative", h("exp", h.input(V)))),
        lambda h: h("absolute", h("maximum", 0.0, h.input((99,)))),
    ]
    noticed = 0
    for build in [*(build for _, build in REFUSED), *more]:
        program = listed(build)
        try:
            assert_same(program, simplify.run(program), rounds=True)
            assert_signs_same(program, simplify.run(program))
        except NOTICED:
            noticed += 1
    assert noticed


def assert_signs_same(before, after):
    for leaves in handmade.grids(before):
        for x, y in zip(handmade.outcome(before, leaves)[1], handmade.outcome(after, leaves)[1], strict=True):
            if np.asarray(x).dtype.kind == "f":
                signs = [np.signbit(z) & ~np.isnan(z) for z in (x, y)]
                assert np.array_equal(*signs)


# --------------------------------------------------------------------------------------------------------- wrong passes


def twice(*lines):
    """A list with two lines that are nearly alike."""

    def build(h):
        variables = {"x": h.input((99,)), "y": h.input((99,))}
        return tuple(
            h(name, *(variables[k] if isinstance(k, str) else k for k in operands), **params)
            for name, operands, params in lines
        )

    return listed(build)


WRONG_CSE = {
    "params are ignored": (
        lambda m: m.setattr(cse, "params_key", lambda params: None),
        lambda: twice(
            ("sum", ["x"], {"axis": (-1,)}),
            ("sum", ["x"], {"axis": (-1,), "initial": None, "keepdims": False}),
            ("roll", ["x"], {"shift": (1,), "axis": (-1,)}),
            ("roll", ["x"], {"shift": (2,), "axis": (-1,)}),
        ),
    ),
    "index arrays are compared by shape": (
        lambda m: m.setattr(cse, "params_key", lambda params: str([np.shape(x) for x in params.get("index", ())])),
        lambda: twice(("getitem", ["x"], {"index": (np.array([1]),)}), ("getitem", ["x"], {"index": (np.array([2]),)})),
    ),
    "differences commute": (
        lambda m: m.setattr(cse, "COMMUTATIVE", cse.COMMUTATIVE | {"subtract"}),
        lambda: twice(("subtract", ["x", "y"], {}), ("subtract", ["y", "x"], {})),
    ),
    "extremes commute": (
        lambda m: m.setattr(cse, "COMMUTATIVE", cse.COMMUTATIVE | {"maximum"}),
        lambda: twice(("maximum", ["x", "y"], {}), ("maximum", ["y", "x"], {})),
    ),
    "numbers are compared by value": (
        lambda m: m.setattr(cse, "_atom_key", lambda atom: atom.value if isinstance(atom, Literal) else atom),
        lambda: twice(("multiply", ["x", 0.0], {}), ("multiply", ["x", -0.0], {})),
    ),
    "constants are compared by value": (
        lambda m: m.setattr(cse, "_constant_key", lambda value: tuple(value.tolist())),
        lambda: listed(
            lambda h: (lambda x: (h("multiply", x, np.zeros(4)), h("multiply", x, -np.zeros(4))))(h.input(V))
        ),
    ),
}


@pytest.mark.parametrize("fault", WRONG_CSE)
def test_a_wrong_cse_is_noticed(monkeypatch, fault):
    seed, build = WRONG_CSE[fault]
    program = build()
    assert_same(program, cse.run(program))
    seed(monkeypatch)
    with pytest.raises(NOTICED):
        assert_same(program, cse.run(program))


def guarded():
    h = Hand()
    x = h.input()
    h("cos", x)
    return h.returns(h("sin", x), guards=[(h("greater", x, 0.0), np.True_)])


def test_a_lost_guard_is_noticed():
    program = guarded()
    after = passes.editing.rebuilt(program, guards=[])
    with pytest.raises(NOTICED):
        assert_same(program, after)


def test_a_guards_line_that_is_lost_is_noticed(monkeypatch):
    program = guarded()
    after = passes.editing.rebuilt(program, equations=[eqn for eqn in program.equations if eqn.primitive.name == "sin"])
    with pytest.raises(NOTICED):
        assert_same(program, after)


def test_a_line_that_is_lost_is_noticed():
    h = Hand()
    program = h.returns(h("exp", h("sin", h.input())))
    with pytest.raises(NOTICED):
        assert_same(program, passes.editing.rebuilt(program, equations=program.equations[1:]))


def scanned(wanted):
    h = Hand()
    start, xs = h.input(), h.input((4,))
    loop = body(lambda h, a, b, x: (h("add", a, b), h("multiply", b, x), h("sin", x), h("cos", x)), *[((), F8)] * 3)
    results = h("scan", start, start, xs, body=loop, consts=0, carry=2, length=4, reverse=False)
    return h.returns(*(results[k] for k in wanted))


def test_a_carry_that_is_lost_is_noticed(monkeypatch):
    program = scanned([0])
    assert_same(program, dead.run(program))
    program = scanned([0])
    monkeypatch.setattr(control, "closure", lambda step, start: tuple(start))
    with pytest.raises((*NOTICED, KeyError, NameError)):
        assert_same(program, dead.run(program))


def test_results_in_the_wrong_order_are_noticed(monkeypatch):
    program = scanned([2, 3])
    assert_same(program, dead.run(program))
    program = scanned([3])
    monkeypatch.setattr(control, "select", lambda items, mask: list(items)[-sum(mask) :] if any(mask) else [])
    monkeypatch.setattr(control, "_cut", lambda body, inputs, outputs: body)
    with pytest.raises((*NOTICED, KeyError, NameError, ValueError)):
        assert_same(program, dead.run(program))


def test_a_folded_input_is_noticed(monkeypatch):
    program = listed(lambda h: h("add", h.input(), 1.0))
    value = Literal(np.float64(2.0))
    after = passes.editing.rebuilt(program, equations=[], outputs=[value])
    with pytest.raises(NOTICED):
        assert_same(program, after)


def test_a_fold_that_forgets_python_numbers_is_noticed(monkeypatch):
    h = Hand()
    x = h.input(V, F4)
    three = h("add", 1.0, 2.0)
    three.aval = aval_of(3.0)  # as staging records what Python's own operator gives
    program = h.returns(h("multiply", three, x))
    h.program.equations[-1].outputs[0].aval = aval_of(np.ones(4, F4))
    assert_same(program, fold.run(program))
    monkeypatch.setattr(fold.core, "weaken", lambda value: value)
    monkeypatch.setattr(fold, "aval_of", lambda value: aval_of(value)._replace(weak=True, scalar=True))
    with pytest.raises(NOTICED):
        assert_same(program, fold.run(program))


def test_disjoint_ranges_are_right():
    """`apart` against the places themselves, over many pairs of slices."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        n = int(rng.integers(1, 9))
        ends = [None, *range(-n - 1, n + 2)]
        one, two = (slice(rng.choice(ends), rng.choice(ends), rng.choice([None, 1, 2, 3, -1, -2])) for _ in range(2))
        common = set(range(*one.indices(n))) & set(range(*two.indices(n)))
        if indexing.apart((one,), (two,), (n,)):
            assert not common
        elif not common:  # it may miss some, but not the plain ones
            assert (one.step, two.step) != (None, None) or not (one.start and two.stop == one.start)
