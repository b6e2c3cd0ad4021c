"""The rules of the primitives that run lists, by the same check as all others; and what their lists hold."""

import numpy as np
import pytest

import wengert as wg
from wengert.control import branches, kind, looping, scanning
from wengert.control.bodies import close, linearized, pushed, rewired, set_runner, written_out
from wengert.core import REGISTRY, aval_of, bind
from wengert.program import Var, evaluate, stage

VECTOR = aval_of(np.ones(2))
NUMBER = aval_of(np.float64(1.0))
COUNT = aval_of(np.int64(1))


def listed(function, *avals):
    return close(function, avals, takes_arrays=False)[0]


def _calls():
    body = listed(lambda x, a: [np.sin(x) * a, np.sum(x), x], VECTOR, NUMBER)
    return [((2,), (), {"body": body})]


def _switches():
    bodies = (
        listed(lambda x, a: [np.sin(x) * a, a * a], VECTOR, NUMBER),
        listed(lambda x, a: [x * x, np.exp(a)], VECTOR, NUMBER),
        listed(lambda x, a: [np.ones(2), a * np.sum(x)], VECTOR, NUMBER),
    )
    return [(np.int64(k), (2,), (), {"branches": bodies}) for k in (0, 1, 7)]


def _scans():
    body = listed(
        lambda c, i, h, x: [i + 1, np.tanh(c * h) + np.sin(c) * x * i, h * x, np.sum(h)], VECTOR, COUNT, VECTOR, VECTOR
    )
    settings = {"body": body, "consts": 1, "carry": 2}
    return [
        ((2,), np.int64(0), (2,), (3, 2), {**settings, "length": 3, "reverse": False}),
        ((2,), np.int64(0), (2,), (3, 2), {**settings, "length": 3, "reverse": True}),
    ]


def _loops():
    test = listed(lambda a, i, h: [np.less(i, 3) & np.less(np.sum(h * h) * 0, a * a + 1.0)], NUMBER, COUNT, VECTOR)
    body = listed(lambda c, i, h: [i + 1, np.sin(h) * c + i * h], VECTOR, COUNT, VECTOR)
    return [((), (2,), np.int64(0), (2,), {"test": test, "body": body, "test_consts": 1, "body_consts": 1})]


def _pullbacks():
    params = _loops()[0][-1]
    settings = looping.pullback_params(params, (True, False, True), (False, True))
    return [((), (2,), np.int64(0), (2,), (2,), settings)]


EXAMPLES = {
    "call": _calls, "switch": _switches, "scan": _scans, "while_loop": _loops, "while_pullback": _pullbacks,
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_rule(name, monkeypatch):
    monkeypatch.setattr(REGISTRY[name], "examples", EXAMPLES[name](), raising=False)
    wg.testing.check_rule(REGISTRY[name])


def test_every_composite_primitive_is_covered():
    found = {name for name, primitive in REGISTRY.items() if primitive.composite}
    # push stands in linear lists only: below. compiled_call is call with other machinery: tests/compile
    assert found - {"compiled_call"} == {*EXAMPLES, "push"}


def test_a_push_line_is_transposed_as_the_pullback_and_evaluated_as_the_pushforward():
    (*shapes, params) = _loops()[0]
    rng = np.random.default_rng(0)
    a, c, i, h = (rng.standard_normal(s) if isinstance(s, tuple) else s for s in shapes)
    body = listed(lambda a, c, h: list(bind(looping.while_loop, a, c, i, h, **params))[1:], NUMBER, VECTOR, VECTOR)
    half = linearized(body, (False, True, True))
    assert [eqn.primitive for eqn in half.linear.equations] == [kind.push]
    assert "while_loop" in str(written_out(half.linear)) and "push" not in str(written_out(half.linear))
    residuals = evaluate(half.known, [a, c, h])[1:]
    c_dot, h_dot = rng.standard_normal((2, 2))
    (dot,) = evaluate(half.linear, [*residuals, c_dot, h_dot])
    expected = wg.jvp(lambda c, h: evaluate(body, [a, c, h])[0], (c, h), (c_dot, h_dot))[1]
    np.testing.assert_allclose(dot, expected, rtol=1e-14)
    np.testing.assert_allclose(evaluate(written_out(half.linear), [*residuals, c_dot, h_dot])[0], dot, rtol=1e-14)


# --------------------------------------------------------------------------------------------------- what is recorded


def names_of(program):
    return [eqn.primitive.name for eqn in program]


def test_a_loop_is_one_equation():
    x = np.ones(2)
    for f in (
        lambda x: wg.scan(lambda c, z: (c * z, c), x, np.ones((3, 2)))[1],
        lambda x: wg.fori_loop(0, 1000, lambda i, c: np.sin(c) * i, x),
        lambda x: wg.while_loop(lambda c: np.sum(c) < 9.0, lambda c: c * 2.0, x),
        lambda x: wg.fori_loop(0, 1000, lambda i, c: c * x, 1.0 * np.ones(2)),  # only what is captured is traced
    ):
        assert len(wg.trace(f)(x)) == 1
    assert names_of(wg.trace(lambda x: wg.cond(x > 0, np.sin, np.cos, x))(1.0)) == ["greater", "not_equal", "switch"]


def test_what_is_the_same_in_all_steps_is_computed_once_and_not_stacked():
    def f(w):
        return np.sum(wg.scan(lambda h, x: (np.sin(w) @ h + x, None), np.ones(2), np.ones((7, 2)))[0])

    program = wg.trace(wg.grad(f))(np.eye(2))
    forward, backward = (eqn for eqn in program if eqn.primitive is scanning.scan)
    stacked = [var.aval.shape for var in forward.outputs[1:]]
    assert stacked == [(7, 2)]  # h of each step, for the gradient of w; neither sin w nor cos w
    assert (2, 2) in [atom.aval.shape for atom in backward.inputs[: backward.params["consts"]]]


def test_what_is_read_or_returned_anyway_is_not_stacked_again():
    def f(a):
        carry, ys = wg.scan(lambda c, x: (c + a * x, np.exp(c)), a, np.arange(7.0))
        return carry + np.sum(ys)

    forward = next(eqn for eqn in wg.trace(wg.grad(f))(0.1) if eqn.primitive is scanning.scan)
    assert len(forward.outputs) == 2  # the carry and the ys: exp is its own derivative, and xs are there


def test_the_backward_sweep_does_not_repeat_the_body():
    def f(a):
        return wg.scan(lambda c, _: (np.tanh(np.exp(np.sin(c) * a)), None), a, length=5)[0]

    program = wg.trace(wg.grad(f))(0.1)
    backward = [eqn for eqn in program if eqn.primitive is scanning.scan][-1]
    assert not {"sin", "cos", "exp", "tanh"} & set(names_of(backward.params["body"]))


def test_zeros_are_written_as_a_line():
    def f(w):
        return wg.scan(lambda c, x: (np.sum(np.sin(w * c) * x), None), 0.0, np.ones((3, 4)))[0]

    program = wg.trace(wg.grad(f))(np.ones(4))
    assert "broadcast_to" in names_of(program)
    assert not any(np.size(value) and not np.any(value) for _, value in program.constants)


def test_branches_share_places_for_their_residuals():
    bodies = _switches()[0][-1]["branches"]
    plan = branches.plan_of(bodies, (True, True))
    assert len({len(body.outputs) for body in plan.known}) == 1
    each = [len(linearized(body, (True, True)).residuals) for body in bodies]
    assert len(plan.known[0].outputs) - 2 < sum(each)


def test_derived_lists_are_kept_and_checked():
    body = listed(lambda x: [np.sin(x) * x], VECTOR)
    assert pushed(body, (True,)) is pushed(body, (True,))
    for made in (pushed(body, (True,))[0], *linearized(body, (True,))[:2]):
        made.check()


def test_a_runner_replaces_the_evaluation_of_a_list():
    body = listed(lambda x: [np.sin(x)], VECTOR)
    calls = []
    set_runner(body, lambda x: calls.append(x) or [np.sin(x)])
    x = np.ones(2)
    assert np.array_equal(bind(branches.call, x, body=body)[0], np.sin(x))
    assert len(calls) == 1
    np.testing.assert_array_equal(wg.grad(lambda x: np.sum(bind(branches.call, x, body=body)[0]))(x), np.cos(x))
    assert len(calls) == 1  # derivatives are lists of their own


def test_rewired_drops_what_is_not_needed():
    program = stage(lambda x, y: [np.sin(x), np.cos(y)], [VECTOR, VECTOR])
    new = rewired(program, program.inputs[1:], [program.outputs[1], VECTOR])
    assert names_of(new) == ["cos", "broadcast_to"]
    new.check()
    assert isinstance(new.outputs[1], Var)
    np.testing.assert_array_equal(evaluate(new, [np.zeros(2)])[1], np.zeros(2))
