"""The examples run, in seconds, and arrive where they say."""

import runpy
import time
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name):
    start = time.process_time()
    namespace = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert time.process_time() - start < 10  # they take about one; the margin is for busy machines
    return namespace


def test_decay(capsys):
    found = run("decay")
    errors = np.sqrt(np.diag(found["covariance"]))
    assert found["steps"] < 20 and np.all(np.abs(found["p"] - found["truth"]) < 3 * errors)
    amplitude, lifetime, _ = found["p"]
    t = found["t"]
    by_hand = np.stack([np.exp(-t / lifetime), amplitude * t / lifetime**2 * np.exp(-t / lifetime), np.ones_like(t)], 1)
    np.testing.assert_allclose(found["jacobian"](found["p"]), by_hand / found["sigma"], rtol=1e-12)
    assert "±" in capsys.readouterr().out


def test_newton_cg(capsys):
    found = run("newton_cg")
    X, labels, w = found["X"], found["labels"], found["w"]
    by_hand = -X.T @ (labels / (1 + np.exp(labels * (X @ w)))) / len(X) + 1e-3 * w
    assert np.linalg.norm(by_hand) < 1e-9 and found["step"] < 15
    v = np.random.default_rng(0).standard_normal(w.size)
    p = 1 / (1 + np.exp(labels * (X @ w)))
    np.testing.assert_allclose(
        found["wg"].hvp(found["loss"], (w,), (v,)), X.T @ (p * (1 - p) * (X @ v)) / len(X) + 1e-3 * v, rtol=1e-10
    )
    assert "accuracy" in capsys.readouterr().out


def test_eager(capsys):
    found = run("eager")
    assert found["error"] < 0.15 and found["loss"].item() < 0.02
    assert "largest error" in capsys.readouterr().out


def test_jitted(capsys):
    found = run("jitted")
    assert 0.6 < found["acceptance"] <= 1 and len(found["chain"].specializations()) == 1
    # The posterior's moments by brute force, on a grid in the logarithms of amplitude and lifetime
    t, counts, samples = found["t"], found["counts"], np.exp(found["samples"])
    a, b = np.meshgrid(np.linspace(1.5, 3.5, 401), np.linspace(0.0, 2.0, 401), indexing="ij")
    log_rate = a[..., None] - t * np.exp(-b)[..., None]
    log_posterior = np.sum(counts * log_rate - np.exp(log_rate), axis=-1) - (a**2 + b**2) / 50
    weight = np.exp(log_posterior - log_posterior.max())
    for values, sampled in ((np.exp(a), samples[:, 0]), (np.exp(b), samples[:, 1])):
        mean = np.average(values, weights=weight)
        spread = np.sqrt(np.average((values - mean) ** 2, weights=weight))
        assert abs(sampled.mean() - mean) < 0.25 * spread and abs(sampled.std() / spread - 1) < 0.2
    assert "accepted" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_tested(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    assert f"def test_{path.stem}(" in Path(__file__).read_text(encoding="utf-8")
