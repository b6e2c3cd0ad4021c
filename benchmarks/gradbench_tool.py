"""wengert as a tool of GradBench (github.com/gradbench/gradbench): all twelve evals, by JSON lines on stdin and stdout.

    gradbench run --eval '…' --tool 'python benchmarks/gradbench_tool.py'

A message is {"id", "kind", …}: "start", "define" a module, "evaluate" a function of it on an input, anything else is
acknowledged. An answer repeats the id; that to "evaluate" holds the output and, in nanoseconds, the first call (named
"prepare": it compiles) and the later ones (named "evaluate"), of which there are at least min_runs in min_seconds.
`--eager` leaves the compiler out.
"""

from __future__ import annotations

import json
import math
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TextIO

import numpy as np

import wengert
from benchmarks.problems import load


class Function(NamedTuple):
    """A function of a module."""

    make: Callable[[Any], Any]  # the NumPy program from wengert's transforms
    read: Callable[[dict[str, Any]], tuple[Any, ...]]  # its arguments from a message's input
    write: Callable[[Any], Any] = lambda value: np.asarray(value).tolist()  # what is answered, from its result
    static: tuple[int, ...] = ()
    show: Callable[[Any, dict[str, Any]], Any] | None = None  # instead of `write`, where that needs the input


def floats(value: Any) -> np.ndarray:
    return np.asarray(value, np.float64)


def of_problem(name: str, **names: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any], tuple[int, ...]]:
    """A problem's value and derivative, each made from wengert's transforms, and its static arguments."""
    module = load(name, **names)
    which = getattr(module, "ARGNUMS", 0)

    def derivative(ad: Any) -> Any:
        return module.derivative(ad) if hasattr(module, "derivative") else ad.grad(module.function, which)

    return lambda _: module.function, derivative, getattr(module, "STATIC", ())


def read_ba(data: dict[str, Any]) -> tuple[Any, ...]:
    n, m, p = data["n"], data["m"], data["p"]
    copies = [np.tile(floats(data[key]), (count, 1)) for key, count in (("cam", n), ("x", m), ("feat", p))]
    observations = np.stack([np.arange(p) % n, np.arange(p) % m], axis=1)
    return copies[0], copies[1], np.full(p, float(data["w"])), observations, copies[2]


def write_ba(result: Any) -> Any:
    seen, weights = (np.asarray(part) for part in result)
    return {
        "reproj_error": {"elements": seen[:, 0].tolist(), "repeated": seen.shape[1]},
        "w_err": {"element": float(weights[0]), "repeated": len(weights)},
    }


def show_ba_jacobian(values: Any, data: dict[str, Any]) -> Any:
    """The first observation's elements and the last of all: the eval's observations are copies of one."""
    columns, starts = load("ba").pattern(data["n"], data["m"], data["p"], read_ba(data)[3])
    parts = {"rows": starts, "cols": columns, "vals": np.asarray(values)}
    return {key: [*part[:30].tolist(), part[-1].item()] for key, part in parts.items()}


def read_ht(data: dict[str, Any]) -> tuple[Any, ...]:
    hand, model = data["data"], data["data"]["model"]
    keys = ("base_relatives", "inverse_base_absolutes", "base_positions", "weights")
    arrays = [floats(model[key]) for key in keys]
    triangles = np.asarray(model["triangles"], np.int64).reshape(-1, 3)
    us = floats(data["us"]).reshape(-1, 2)
    parents = tuple(int(parent) for parent in model["parents"])
    rest = triangles, np.asarray(hand["correspondences"], np.int64), floats(hand["points"])
    return floats(data["theta"]), us, parents, bool(model["is_mirrored"]), *arrays, *rest


def read_gmm(data: dict[str, Any]) -> tuple[Any, ...]:
    alpha, mu, q, low, x = (floats(data[key]) for key in ("alpha", "mu", "q", "l", "x"))
    return alpha, mu, q, low.reshape(len(mu), -1), x, float(data["gamma"]), int(data["m"])


def write_gmm(gradients: Any) -> Any:
    return {key: np.asarray(g).tolist() for key, g in zip(("alpha", "mu", "q", "l"), gradients, strict=True)}


def determinant(_: Any) -> Any:
    """By minors; beyond ℓ = 7 each minor is computed once, because the list would have ℓ! lines."""
    module = load("det")

    def shared(a: Any) -> Any:
        size = len(a)

        @cache
        def minor(columns: tuple[int, ...]) -> Any:
            row = size - len(columns)
            if len(columns) == 1:
                return a[row, columns[0]]
            terms = (a[row, c] * minor(columns[:j] + columns[j + 1 :]) * (-1.0) ** j for j, c in enumerate(columns))
            return sum(terms)

        return minor(tuple(range(size)))

    return lambda a: module.function(a) if len(a) <= 7 else shared(a)


def read_det(data: dict[str, Any]) -> tuple[Any, ...]:
    size = math.isqrt(len(data["A"]))
    return (floats(data["A"]).reshape(size, size),)


def flat(result: Any) -> Any:
    return np.concatenate([np.ravel(part) for part in (result if isinstance(result, tuple) else (result,))]).tolist()


@cache
def modules() -> dict[str, dict[str, Function]]:
    """Every function of every module."""
    found: dict[str, dict[str, Function]] = {}

    def enter(name: str, value: str, gradient: str, read: Any, writes: Any = (), **options: Any) -> None:
        make, derivative, static = of_problem(name)
        plain, of_derivative = writes or (Function._field_defaults["write"],) * 2
        found[name] = {
            value: Function(make, read, plain, static),
            gradient: Function(derivative, read, of_derivative, static, **options),
        }

    enter("hello", "square", "double", lambda x: (float(x),), (float, float))
    enter("gmm", "objective", "jacobian", read_gmm, (float, write_gmm))
    enter("ba", "objective", "jacobian", read_ba, (write_ba, flat), show=show_ba_jacobian)
    keys = ("main_params", "extra_params", "state", "sequence")
    enter("lstm", "objective", "jacobian", lambda data: tuple(floats(data[key]) for key in keys), (float, flat))
    enter("ht", "objective", "jacobian", read_ht, (flat, lambda rows: np.asarray(rows).tolist()))
    enter("kmeans", "cost", "dir", lambda data: (floats(data["points"]), floats(data["centroids"])))
    enter("llsq", "primal", "gradient", lambda data: (floats(data["x"]), int(data["n"])))
    enter("lse", "primal", "gradient", lambda data: (floats(data["x"]),))
    enter("ode", "primal", "gradient", lambda data: (floats(data["x"]), int(data["s"])))
    found["ode"]["primal"] = found["ode"]["primal"]._replace(make=lambda _: load("ode").solve)
    found["det"] = {
        "primal": Function(determinant, read_det),
        "gradient": Function(lambda ad: ad.grad(determinant(ad)), read_det, flat),
    }
    for name, key in (("particle", "w"), ("saddle", "start")):
        found[name] = {}
        for mode in ("rr", "rf", "fr", "ff"):
            make = of_problem(name, MODE=mode)[1]
            write = (lambda w: float(w[0])) if name == "particle" else Function._field_defaults["write"]
            found[name][mode] = Function(make, lambda data, key=key: (np.atleast_1d(floats(data[key])),), write)
    return found


class Tool:
    """What is compiled is kept from one message to the next."""

    def __init__(self, eager: bool) -> None:
        self.compile = (lambda f, **_: f) if eager or not hasattr(wengert, "jit") else wengert.jit
        self.compiled: dict[tuple[str, str], Any] = {}

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to a message, without its id."""
        kind = message["kind"]
        if kind == "start":
            return {"tool": "wengert"}
        if kind == "define":
            name = message["module"]
            return {"success": True} if name in modules() else {"success": False, "error": f"no module {name!r}"}
        if kind != "evaluate":
            return {}
        try:
            return self.evaluate(message["module"], message["function"], message["input"])
        except Exception:  # the protocol asks for the text
            return {"success": False, "error": traceback.format_exc()}

    def evaluate(self, module: str, name: str, data: Any) -> dict[str, Any]:
        function = modules()[module][name]
        if (module, name) not in self.compiled:
            self.compiled[module, name] = self.compile(function.make(wengert), static_argnums=function.static)
        f, args = self.compiled[module, name], function.read(data)
        options = data if isinstance(data, dict) else {}
        runs, seconds = options.get("min_runs", options.get("runs", 1)), options.get("min_seconds", 0.0)
        timings, total = [], 0.0
        while len(timings) <= runs or total < seconds:
            begin = time.perf_counter_ns()
            result = f(*args)
            nanoseconds = time.perf_counter_ns() - begin
            timings.append({"name": "evaluate" if timings else "prepare", "nanoseconds": nanoseconds})
            total += nanoseconds * 1e-9 * (len(timings) > 1)
        output = function.show(result, data) if function.show else function.write(result)
        return {"success": True, "output": output, "timings": timings}


def serve(incoming: TextIO, outgoing: TextIO, eager: bool = False) -> None:
    tool = Tool(eager)
    for line in incoming:
        message = json.loads(line)
        print(json.dumps({"id": message["id"]} | tool.answer(message)), file=outgoing, flush=True)


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # a program's own prints must not reach the protocol
    serve(sys.stdin, out, "--eager" in sys.argv)
