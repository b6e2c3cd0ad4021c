"""The table "Beside others" of the README, computed: every cell by running the line in that system."""

from pathlib import Path

import numpy as np
import pytest

import wengert as wg

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
autograd = pytest.importorskip("autograd")
jax = pytest.importorskip("jax")
mygrad = pytest.importorskip("mygrad")
torch = pytest.importorskip("torch")
anp, jnp = pytest.importorskip("autograd.numpy"), pytest.importorskip("jax.numpy")

pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own

SYSTEMS = ("wengert", "autograd", "JAX", "PyTorch", "MyGrad")
NUMPYS = {"wengert": np, "autograd": anp, "JAX": jnp, "PyTorch": torch, "MyGrad": mygrad}


def gradient(system, f, x):
    """∇f at x in one system, as an array; None where the system leaves none."""
    if system == "wengert":
        return wg.grad(f)(x)
    if system == "autograd":
        return autograd.grad(f)(x)
    if system == "JAX":
        return jax.grad(f)(jnp.asarray(x))
    x = torch.tensor(x, requires_grad=True) if system == "PyTorch" else mygrad.tensor(x)
    f(x).backward()
    return None if x.grad is None else np.asarray(x.grad)


def verdict(compute, want):
    try:
        got = compute()
    except Exception:
        return "refused"
    if got is None or np.shape(got) != np.shape(want):
        return "wrong"
    if np.any(np.isnan(got)):
        return "NaN"
    if not np.allclose(got, want, rtol=1e-5):
        return "wrong"
    return "right" if np.any(want) else "0"


def masked_root(system):
    xp, x = NUMPYS[system], np.array([0.0, 4.0])
    zero = torch.zeros(2, dtype=torch.float64) if system == "PyTorch" else 0.0
    return verdict(lambda: gradient(system, lambda x: xp.where(x > 0, xp.sqrt(x), zero).sum(), x), [0, 0.25])


def norm_at_zero(system):
    return verdict(lambda: gradient(system, NUMPYS[system].linalg.norm, np.zeros(2)), [0, 0])


def product_with_zero(system):
    return verdict(lambda: gradient(system, NUMPYS[system].prod, np.array([0.0, 2.0, 3.0])), [6, 0, 0])


def masked_sum(system):
    if system == "PyTorch":
        return "–"  # has no such keyword
    mask = np.array([True, False])
    return verdict(lambda: gradient(system, lambda x: NUMPYS[system].sum(x * x, where=mask), np.ones(2)), [2, 0])


def assignment(system):
    def f(x):
        y = {"PyTorch": lambda: x.clone(), "autograd": lambda: anp.array(x)}.get(system, lambda: x.copy())()
        y[0] = 3 * y[1]
        return y.sum()

    return verdict(lambda: gradient(system, f, np.ones(2)), [0, 4])


def changed_constant(system):
    def backward():
        constant, x = np.full(2, 2.0), np.ones(2)
        if system == "autograd":
            pullback, _ = autograd.core.make_vjp(lambda x: anp.sum(constant * x), x)
        elif system in ("wengert", "JAX"):
            vjp = wg.vjp if system == "wengert" else jax.vjp
            with jax.enable_x64(True):  # as the array is float64, JAX need not copy it
                _, pull = vjp(lambda x: (constant * x).sum(), x)
            pullback = lambda ct: pull(ct)[0]  # noqa: E731
        else:
            tensor = torch.tensor(x, requires_grad=True) if system == "PyTorch" else mygrad.tensor(x)
            y = ((torch.from_numpy(constant) if system == "PyTorch" else constant) * tensor).sum()
            pullback = lambda ct: (y.backward(), np.asarray(tensor.grad))[1]  # noqa: E731
        constant[:] = 9.0
        with jax.enable_x64(True):
            return pullback(1.0)

    return verdict(backward, [2, 2])


def escaped(system):
    if system in ("PyTorch", "MyGrad"):
        return "–"  # have no transforms
    kept = []

    def late():
        gradient(system, lambda x: (kept.append(x), x * x)[1], 2.0)
        return gradient(system, lambda x: x * NUMPYS[system].sin(kept[0]), 3.0)

    return verdict(late, np.nan)


def through_float(system):
    return verdict(lambda: gradient(system, lambda x: x * float(x), 2.0), 4.0)


def through_item(system):
    return verdict(lambda: gradient(system, lambda x: x * x.item(), 2.0), 4.0)


ROWS = {
    "`np.where(x > 0, np.sqrt(x), 0)` at 0": masked_root,
    "`np.linalg.norm(x)` at 0": norm_at_zero,
    "`np.prod(x)` with a zero": product_with_zero,
    "`np.sum(x * x, where=mask)`": masked_sum,
    "`y = x.copy(); y[0] = 3 * y[1]`": assignment,
    "a captured NumPy array is changed before the backward pass": changed_constant,
    "a traced value is used after its transform has returned": escaped,
    "`x * float(x)`": through_float,
    "`x * x.item()`": through_item,
}


@pytest.mark.parametrize("line", ROWS)
def test_row(line):
    cells = " | ".join(ROWS[line](system) for system in SYSTEMS)
    assert f"| {line} | {cells} |" in README


def test_the_table_has_these_rows_and_no_others():
    table = README.partition("| you write | wengert |")[2].partition("\n\n")[0]
    assert table.count("\n| ") == len(ROWS)
