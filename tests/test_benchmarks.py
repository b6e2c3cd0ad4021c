"""The benchmarks measure what they say: by hand, by peers and by wengert come the same numbers. Nothing is timed."""

import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import wengert
from benchmarks import compiled, contestants, goals, imports, plain, single
from benchmarks.gradbench_tool import modules, serve
from benchmarks.harness import Arena, Results, difference
from benchmarks.problems import GRADBENCH, NAMES, load

SLOW = ("particle", "saddle")  # tens of seconds eagerly
NESTED = SimpleNamespace(grad=wengert.grad, jacfwd=wengert.jacfwd)
QUICK = [name for name in NAMES if name not in SLOW]


def tiny(name):
    module = load(name)
    return module, module.inputs(0, **module.SIZES["tiny"])


def by_wengert(name, contestant="wengert"):
    _, args = tiny(name)
    ready = contestants.prepare(contestants.CONTESTANTS[contestant](), contestant, name, args)
    return ready.collect(ready.result())


def assert_agree(one, other):
    assert difference(contestants.leaves(one), contestants.leaves(other)) <= 1


# ------------------------------------------------------------------------------------------------------- the problems


@pytest.mark.parametrize("name", NAMES)
def test_a_problem_says_what_it_is(name):
    module, args = tiny(name)
    assert name == module.NAME
    assert {"table", "quick", "tiny"} <= module.SIZES.keys()
    assert hasattr(module, "derivative") or module.WHAT in ("gradient", "value and gradient")
    again = module.inputs(0, **module.SIZES["tiny"])
    assert all(np.array_equal(a, b) for a, b in zip(args, again, strict=True))


@pytest.mark.parametrize("name", QUICK)
def test_wengert_equals_the_derivative_by_hand(name):
    module, args = tiny(name)
    found = by_wengert(name)
    for by_hand in ("by_hand", "by_loops"):  # the loops as plain Python
        if hasattr(module, by_hand):
            assert_agree(getattr(module, by_hand)(*args), found)


@pytest.mark.parametrize("name", QUICK)
def test_jitted_equals_eager(name):
    assert_agree(by_wengert(name, "wengert jit"), by_wengert(name))


def test_every_problem_has_a_derivative_by_hand():
    assert [n for n in NAMES if not (hasattr(load(n), "by_hand") or hasattr(load(n), "by_loops"))] == []


@pytest.mark.parametrize("name", ["ode", "lstm"])
def test_scan_equals_the_plain_loop(name):
    module, args = tiny(name)
    loops = {key: getattr(plain, key) for key in ("scan", "while_loop", "cond")}
    plainly = load(name, **loops)
    assert plainly.scan is plain.scan is not module.scan
    assert_agree(module.function(*args), plainly.function(*args))
    assert_agree(by_wengert(name), wengert.grad(plainly.function, getattr(module, "ARGNUMS", 0))(*args))


def test_plain_scan_takes_what_ours_takes():
    def body(carry, x):
        return carry + x[0] * x[1], (carry, x[1])

    xs = (np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.25, 2.0]))
    for reverse in (False, True):
        assert_agree(
            contestants.leaves(plain.scan(body, np.float64(1.0), xs, reverse=reverse)),
            contestants.leaves(wengert.scan(body, np.float64(1.0), xs, reverse=reverse)),
        )


@pytest.mark.parametrize("w", [0.0, 0.3])
def test_the_particle_carried_by_hand(w):
    module = load("particle")
    value, slope = module.trajectory(w)
    for inner in (NESTED.grad, NESTED.jacfwd):
        for outer in (NESTED.grad, NESTED.jacfwd):
            assert_agree(slope, outer(lambda v, inner=inner: module.crossing(v, inner))(w))
        assert_agree(value, module.crossing(w, inner))


def test_gradbench_s_own_answers():
    """The numbers that its evals expect of particle and saddle, from the descent by hand."""
    assert_agree(load("particle").by_loops(np.array([0.0])), np.array([0.2071918746486116]))
    assert_agree(load("saddle").by_loops(np.array([1.0, 1.0])), np.full(4, 8.246324826140356e-06))


@pytest.mark.parametrize("inner", ["grad", "jacfwd"])
@pytest.mark.parametrize("outer", ["grad", "jacfwd"])
def test_descent_with_gradients_of_descents(outer, inner):
    """The saddle problem from near its end, where it takes few steps."""
    saddle, start = load("saddle"), np.array([2e-5, -1e-5])
    mode = {"grad": "r", "jacfwd": "f"}
    found = load("saddle", MODE=mode[outer] + mode[inner]).derivative(NESTED)(start)
    assert_agree(saddle.by_loops(start), found)


def test_the_sparse_jacobian_is_the_dense_one():
    from scipy.sparse import csr_matrix

    module, (cameras, points, weights, observations, features) = tiny("ba")
    n, m, p = len(cameras), len(points), len(weights)
    columns, starts = module.pattern(n, m, p, observations)
    values = module.derivative(wengert)(cameras, points, weights, observations, features)
    sparse = csr_matrix((values, columns, starts), shape=(3 * p, 11 * n + 3 * m + p)).toarray()

    def errors(unknowns):
        c, x, w = np.split(unknowns, [11 * n, 11 * n + 3 * m])
        seen, regular = module.function(c.reshape(n, 11), x.reshape(m, 3), w, observations, features)
        return np.concatenate([seen.T.reshape(-1), regular])

    unknowns = np.concatenate([cameras.reshape(-1), points.reshape(-1), weights])
    assert_agree(wengert.jacrev(errors)(unknowns), sparse)


def test_no_rotation_is_a_rotation():
    module, (cameras, *rest) = tiny("ba")
    cameras[:, :3] = 0.0
    assert_agree(module.by_loops(cameras, *rest), module.derivative(wengert)(cameras, *rest))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_network_of_few_images(batch):
    """The sizes of the batch's curve, at which a plan of the memory once let one product overwrite another."""
    module = load("mlp")
    args = module.inputs(0, **module.SIZES["table"] | {"batch": batch})
    ready = contestants.Jit().ready("mlp", args)
    assert_agree(module.by_hand(*args), ready.result())


def test_gemms_alone_are_the_products_of_the_gradient():
    module = load("mlp")
    args = module.inputs(0, **module.SIZES["tiny"])
    run = module.gemms_alone(*args)
    run()
    assert len(run.calls) == 8
    for a, b, c, ta, tb in run.calls:
        assert_agree((a.T if ta else a) @ (b.T if tb else b), c)


def test_determinant_of_all_permutations():
    module, (a,) = tiny("det")
    assert_agree(np.linalg.det(a), [module.function(a)])
    assert_agree(np.linalg.det(a), [module.leibniz(a)])


def test_a_copy_of_a_module_means_what_it_is_told():
    stand_in = SimpleNamespace(square=lambda x: ("seen", x))
    assert load("hello", np=stand_in).function(3.0) == ("seen", 3.0)
    assert load("hello").function(3.0) == 9.0
    loops = load("saddle", while_loop=plain.while_loop)
    assert loops.descent.while_loop is plain.while_loop is not load("saddle").descent.while_loop


# ---------------------------------------------------------------------------------------------------------- the harness


class Console:
    """Keeps what is printed."""

    def __init__(self):
        self.lines = []

    def print(self, *values, **_):
        self.lines += values


@pytest.fixture(scope="module")
def arena():
    names = ["numba by hand", "numpy by hand", "wengert", "jax", "torch", "autograd", "mygrad", "casadi", "scipy"]
    arena = Arena(Console(), names, one_thread=True, patience=300)
    yield arena
    arena.close()


@pytest.mark.parametrize("name", NAMES)
def test_peers_agree(arena, name):
    size = load(name).SIZES["tiny"]
    who = [w for w in arena.workers if name not in SLOW or w in ("numba by hand", "jax")]
    results = Results()
    arena.oddities.clear()
    calls = arena.agree(name, size, who, results)
    for w in who:
        arena.ask(w, do="forget")
    assert arena.disagreements == arena.oddities == []
    applicable = ("not written", "nobody wrote", "has n", "has gradients", "one call takes")
    assert [reason for reason in results.absent.values() if not reason.startswith(applicable)] == []
    assert calls.keys() | results.absent.keys() == {*who}
    assert len(calls) >= min(2, len(who))


def test_a_wrong_answer_is_found():
    assert difference([np.array([1.0, 2.0])], [np.array([1.0, 2.0 + 1e-11])]) < 1
    assert difference([np.array([1.0, 2.0])], [np.array([1.0, 2.0 + 1e-9])]) > 1
    assert difference([np.array([1.0, np.nan])], [np.array([1.0, 2.0])]) == np.inf
    assert difference([np.array([1.0, np.nan])], [np.array([1.0, np.nan])]) == 0
    assert difference([np.zeros(2)], [np.zeros((2, 1))]) == np.inf
    assert difference([np.zeros(2)], [np.zeros(2), np.zeros(2)]) == np.inf
    single = np.ones(4, np.float32)
    assert difference([single], [single + np.float32(2e-5)]) < 1 < difference([single], [single + np.float32(1e-3)])
    assert difference([np.zeros(3)], [np.full(3, 1e-30)]) == np.inf


def test_who_is_absent_is_said_to_be():
    console = Console()
    arena = Arena(console, ["numpy by hand", "value in NumPy", "GEMMs alone"], one_thread=True, patience=60)
    try:
        results = arena.compete("hello", {}, ["numpy by hand", "value in NumPy", "GEMMs alone"], rounds=2)
        assert results.rounds.keys() == {"numpy by hand", "value in NumPy"}
        assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in results.rounds.values())
        assert results.absent == {"GEMMs alone": "is not made of matrix products"}
        arena.agree("hello", {}, ["numpy by hand"], results)
        arena.patience = 0.01
        assert "no answer" in arena.ask("numpy by hand", do="measure", problem="hello", calls=10**9)["absent"]
        arena.patience = 60
        assert arena.agree("hello", {}, ["numpy by hand"], results).keys() == {"numpy by hand"}  # by a new process
    finally:
        arena.close()


def test_a_peer_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(contestants.Absent, match="not installed"):
        contestants.Jax()


def test_goals_name_what_there_is():
    for row in goals.TABLE:
        assert row.size in load(row.problem).SIZES
        assert {goal.than for goal in row.goals} <= contestants.CONTESTANTS.keys()
    assert {row.problem for row in goals.TABLE} >= {*GRADBENCH}


def test_verdicts():
    said = []
    b = SimpleNamespace(goal=lambda *words: said.append(words))
    results = Results()
    results.rounds = {"wengert jit": [1.0, 2.0], "jax": [60.0, 110.0], "jitted value": [0.5, 0.5]}
    compiled.judge(b, goals.Row("a row", "scalar", "table", (goals.Goal("jax", 50), goals.Goal("torch", 1))), results)
    assert [met for *_, met in said] == [True, None, True]
    results.rounds["jax"] = [40.0, 100.0]
    compiled.judge(b, goals.Row("a row", "scalar", "table", (goals.Goal("jax", 50),)), results)
    assert said[3][-1] is False and said[3][2] == "45 ×"


def test_importing_wengert_loads_little():
    assert imports.loaded(goals.IMPORT_WITHOUT) == []


@pytest.mark.parametrize("call", [*single.single_calls([10])], ids=lambda call: call[0])
def test_single_calls_give_numpy_s_results(call):
    _, program, function, args = call
    np.testing.assert_allclose(wengert.jit(program)(*args), function(*args), rtol=1e-14)


def test_the_registry_s_calls_run():
    names = {name.split()[0] for name, _, function, args in single.registry_calls() if function(*args) is not None}
    assert {"sin", "einsum", "svd", "sort", "gather"} <= names and len(names) > 150


# --------------------------------------------------------------------------------------------------------- GradBench


def converse(*messages, eager=True):
    incoming = io.StringIO("".join(json.dumps({"id": k} | message) + "\n" for k, message in enumerate(messages)))
    outgoing = io.StringIO()
    serve(incoming, outgoing, eager=eager)
    answers = [json.loads(line) for line in outgoing.getvalue().splitlines()]
    assert [answer["id"] for answer in answers] == list(range(len(messages)))
    return answers


def evaluate(module, function, data, eager=True):
    message = {"kind": "evaluate", "module": module, "function": function, "input": data}
    _, _, answer = converse(
        {"kind": "start", "eval": module}, {"kind": "define", "module": module}, message, eager=eager
    )
    assert answer["success"], answer["error"]
    runs = data.get("min_runs", 1) if isinstance(data, dict) else 1
    assert [timing["name"] for timing in answer["timings"]] == ["prepare"] + ["evaluate"] * runs
    assert all(timing["nanoseconds"] > 0 for timing in answer["timings"])
    return answer["output"]


def test_the_protocol():
    start, define, other, unknown, failing = converse(
        {"kind": "start", "eval": "hello"},
        {"kind": "define", "module": "hello"},
        {"kind": "analysis", "of": 1, "valid": True},
        {"kind": "define", "module": "nonsense"},
        {"kind": "evaluate", "module": "lse", "function": "primal", "input": {"y": 3}},
    )
    assert start == {"id": 0, "tool": "wengert"}
    assert define == {"id": 1, "success": True}
    assert other == {"id": 2}
    assert unknown["success"] is False and "nonsense" in unknown["error"]
    assert failing["success"] is False and "KeyError" in failing["error"]


def listed(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


def gradbench_input(name):
    """A tiny input as GradBench writes it, and the arguments that it stands for."""
    module, args = tiny(name)
    if name == "gmm":
        alpha, mu, q, low, x, gamma, m = args
        data = {"d": 3, "k": 2, "n": 5, "alpha": alpha, "mu": mu, "q": q, "l": low, "x": x, "gamma": gamma, "m": m}
    elif name == "lstm":
        data = dict(zip(("main_params", "extra_params", "state", "sequence"), args, strict=True))
    elif name == "kmeans":
        data = dict(zip(("points", "centroids"), args, strict=True))
    elif name in ("llsq", "ode"):
        data = {"x": args[0], "n" if name == "llsq" else "s": args[1]}
    elif name == "lse":
        data = {"x": args[0]}
    elif name == "det":
        data = {"A": args[0].reshape(-1), "ell": len(args[0])}
    elif name == "ht":
        theta, us, parents, mirrored, relatives, inverses, positions, weights, triangles, correspondences, points = args
        model = {
            "bone_count": len(parents), "bone_names": [f"bone {k}" for k in range(len(parents))],
            "parents": list(parents), "base_relatives": relatives, "inverse_base_absolutes": inverses,
            "base_positions": positions, "weights": weights, "triangles": triangles, "is_mirrored": mirrored,
        }  # fmt: skip
        hand = {"model": {k: listed(v) for k, v in model.items()}, "correspondences": listed(correspondences)}
        data = {"theta": theta, "data": hand | {"points": listed(points)}, "us": us}
    return module, args, {key: listed(value) for key, value in data.items()} | {"min_runs": 2, "min_seconds": 0}


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("name", ["gmm", "lstm", "ht", "kmeans", "llsq", "lse", "ode", "det"])
def test_gradbench(name, eager):
    module, args, data = gradbench_input(name)
    value, derivative = modules()[name]
    found = evaluate(name, value, data, eager)
    expected = module.solve(*args) if name == "ode" else module.function(*args)
    assert_agree(np.ravel(expected), np.ravel(found))
    found, expected = evaluate(name, derivative, data, eager), by_wengert(name)
    if name == "gmm":
        assert_agree(expected, [np.array(found[key]) for key in ("alpha", "mu", "q", "l")])
    else:
        flat = np.concatenate([np.ravel(part) for part in expected])
        assert_agree(flat, np.ravel(found))
    if name == "ht":
        assert np.shape(found) == (15, 28)


def test_gradbench_hello():
    assert evaluate("hello", "square", 3.0) == 9.0
    assert evaluate("hello", "double", 3.0) == 6.0


def test_gradbench_ht_without_us():
    module = load("ht")
    theta, us, *rest = module.inputs(0, vertices=12, points=5, complicated=False)
    assert us.shape == (0, 2)
    assert module.derivative(wengert)(theta, us, *rest).shape == (15, 26)


def test_gradbench_ba():
    """Its observations are copies of one, and it answers with the first and the last element."""
    module = load("ba")
    cameras, points, weights, _, features = module.inputs(0, 1, 1, 1)
    n, m, p = 3, 4, 12
    data = {"n": n, "m": m, "p": p, "cam": listed(cameras[0]), "x": listed(points[0]), "w": weights[0].item()}
    data |= {"feat": listed(features[0]), "min_runs": 1}
    seen, regular = module.function(cameras, points, weights, np.zeros((1, 2), int), features)
    found = evaluate("ba", "objective", data)
    assert found["reproj_error"]["repeated"] == found["w_err"]["repeated"] == p
    assert_agree(seen[:, 0], np.array(found["reproj_error"]["elements"]))
    assert_agree(regular[0], [found["w_err"]["element"]])
    found = evaluate("ba", "jacobian", data)
    expected = module.by_loops(cameras, points, weights, np.zeros((1, 2), int), features)
    assert_agree(expected, np.array(found["vals"]))
    assert found["rows"][:3] == [0, 15, 30] and found["rows"][-1] == 31 * p
    assert found["cols"][:15] == [*range(11), 11 * n, 11 * n + 1, 11 * n + 2, 11 * n + 3 * m]
    assert found["cols"][-1] == 11 * n + 3 * m + p - 1


@pytest.mark.parametrize("mode", ["rr", "rf", "fr", "ff"])
def test_gradbench_saddle(mode):
    near = {"start": [2e-5, -1e-5], "min_runs": 1}
    assert_agree(load("saddle").by_loops(np.array(near["start"])), np.array(evaluate("saddle", mode, near)))


@pytest.mark.parametrize("mode", ["rr", "rf", "fr", "ff"])
def test_gradbench_particle(mode):
    near = {"w": 0.20719, "min_runs": 1}
    assert_agree(load("particle").by_loops(np.array([near["w"]]))[0], evaluate("particle", mode, near))


def test_gradbench_large_determinant():
    a = np.random.default_rng(1).uniform(0, 1, (9, 9))
    data = {"A": a.reshape(-1).tolist(), "ell": 9}
    assert_agree(np.linalg.det(a), [evaluate("det", "primal", data)])
    assert_agree(load("det").by_hand(a).reshape(-1), np.array(evaluate("det", "gradient", data)))


def test_gradbench_is_whole():
    assert {*modules()} == {*GRADBENCH}
