"""The tour's four steps, printed as they go."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import wengert
from wengert.errors import WengertError
from wengert.look.table import as_table, lines
from wengert.program import WengertList
from wengert.tour import data, network, report
from wengert.tour.data import Digits, TourError
from wengert.tour.report import Derivative, Findings

AGREEMENT = 1e-4  # the relative error of a gradient's norm above which the tour stops
CHECKED = 64  # training digits on which the gradient is checked
POINT = 1.5


def f(x: Any) -> Any:
    return np.log(np.sin(x**2) + np.exp(x))


def product(x1: Any, x2: Any) -> Any:
    return (x1 + x2) * np.sin(x1)


def run(directory: Path | None, out: Path, epochs: int, seed: int, console: Console) -> None:
    """Take the tour and leave the report in `out`.

    `TourError` where the digits, SymPy or the place of the report are missing; these are looked for before anything is
    computed. `WengertError` where a gradient is not what central differences or PyTorch say.
    """
    check_place(out)
    exact = exact_derivative()
    digits = data.load(directory, seed)

    console.rule("[bold]1  One derivative, five ways", align="left")
    derivatives = differentiate(exact)
    console.print(_derivatives_table(derivatives, exact))

    console.rule("[bold]2  A Wengert list, read both ways", align="left")
    rows = lines(product, 1.0, 2.0)
    console.print(as_table(rows, "(x₁ + x₂) · sin x₁ at (1, 2), with tangents for ẋ = (1, 0)"))
    x1, x2, *_, result = rows
    console.print(f"Forwards, ẏ = {result.tangent:.6g}. Backwards, (x̄₁, x̄₂) = ({x1.adjoint:.6g}, {x2.adjoint:.6g}).\n")

    console.rule("[bold]3  Learning to tell four from nine", align="left")
    rng = np.random.default_rng(seed)
    params = network.initial(digits.train_x.shape[1], rng)
    console.print(f"{digits.source}: {len(digits.train_y)} to learn from, {len(digits.held_y)} held out")
    difference_error, torch_error = check_gradient(params, digits, rng, console)
    history = learn(params, digits, epochs, rng, console)

    console.rule("[bold]4  The report", align="left")
    example = one_example(history[-1].params, digits)
    findings = Findings(derivatives, str(exact), rows, digits, difference_error, torch_error, history, example, seed)
    try:
        report.write(out, findings)
    except OSError as error:
        raise TourError(
            f"The report could not be written to {out} ({error.strerror}). Everything else went well. Name another "
            "file with --out."
        ) from None
    console.print(f"Loss curve, digits and the graph of one example: [bold]{out.resolve()}[/bold]", soft_wrap=True)


def check_place(out: Path) -> None:
    """Raise `TourError` where a report cannot be written to `out`."""
    if out.is_dir():
        raise TourError(
            f"{out} is a folder. --out names the file of the report. Write for example {out / 'tour.html'}."
        )
    if not out.resolve().parent.is_dir():
        raise TourError(
            f"There is no folder {out.parent}. --out names the file of the report, and its folder must exist. Make "
            "the folder, or name another file."
        )


# --------------------------------------------------------------------------------------- one derivative, five ways


def exact_derivative() -> Any:
    """SymPy's 50-digit value of the derivative of `f` at 1.5, which the errors are measured against."""
    sympy = _import_sympy()
    x = sympy.Symbol("x")
    return sympy.diff(_symbolic(sympy, x), x).evalf(50, subs={x: sympy.Rational(POINT)})


def differentiate(exact: Any) -> list[Derivative]:
    """The derivative of `f` at 1.5 in five ways, each with its distance from `exact`."""
    sympy = _import_sympy()
    x = sympy.Symbol("x")
    step = np.finfo(float).eps ** (1 / 3)  # balances truncation, step², with rounding, eps/step
    values = {
        "forward (wengert.jvp)": wengert.jvp(f, (POINT,), (1.0,))[1],
        "reverse (wengert.grad)": wengert.grad(f)(POINT),
        "central differences": (f(POINT + step) - f(POINT - step)) / (2 * step),
        "complex step": f(complex(POINT, 1e-30)).imag / 1e-30,
        "symbolic (SymPy)": sympy.lambdify(x, sympy.diff(_symbolic(sympy, x), x), "numpy")(POINT),
    }
    return [
        Derivative(method, float(value), float(abs(sympy.Float(float(value), 50) - exact)))
        for method, value in values.items()
    ]


def _symbolic(sympy: Any, x: Any) -> Any:
    return sympy.log(sympy.sin(x**2) + sympy.exp(x))


def _import_sympy() -> Any:
    try:
        import sympy  # half a second to import, and only this step needs it
    except ImportError:
        raise TourError(
            "SymPy is not installed. The tour measures errors against its 50-digit value. Install it with `pip "
            "install 'wengert[tour]'`."
        ) from None
    return sympy


def _derivatives_table(derivatives: list[Derivative], exact: Any) -> Table:
    table = Table(title="d/dx ln(sin x² + eˣ) at 1.5", title_justify="left", caption=f"to 50 digits: {exact}")
    table.add_column("method", style="bold")
    table.add_column("derivative")
    table.add_column("error", justify="right")
    for row in derivatives:
        table.add_row(row.method, repr(row.value), f"{row.error:.1e}")
    return table


# ------------------------------------------------------------------------------------------------------------- learning


def check_gradient(
    params: network.Params, digits: Digits, rng: np.random.Generator, console: Console
) -> tuple[float, float | None]:
    """Compare the loss's gradient with central differences and PyTorch, print both, and raise where they disagree."""
    x, y = digits.train_x[:CHECKED], digits.train_y[:CHECKED]
    differences = network.difference_error(params, x, y, rng)
    torch = network.torch_error(params, x, y)
    table = Table(title="the gradient of the loss, in float64", title_justify="left")
    table.add_column("compared with", style="bold")
    table.add_column("relative error of the norm", justify="right")
    table.add_row("central differences", f"{differences:.1e}")
    table.add_row("PyTorch", "not installed" if torch is None else f"{torch:.1e}")
    console.print(table)
    worst = max(differences, differences if torch is None else torch)
    if math.isnan(worst) or worst > AGREEMENT:
        raise WengertError(
            f"The gradient of the network's loss is off by {worst:.1e}, more than {AGREEMENT:.0e}. Either wengert or "
            "what it was compared with is wrong on this machine. Please report it, with the versions of Python and "
            "NumPy."
        )
    return differences, torch


def learn(
    params: network.Params, digits: Digits, epochs: int, rng: np.random.Generator, console: Console
) -> list[network.Epoch]:
    """Train, with a progress bar, and print how it went."""
    history: list[network.Epoch] = []
    columns = (
        TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  held-out accuracy {task.fields[accuracy]:.1%}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=epochs, loss=math.nan, accuracy=math.nan)
        for epoch in network.train(params, digits, epochs, rng):
            history.append(epoch)
            progress.update(task, completed=epoch.number, loss=epoch.loss, accuracy=epoch.held_accuracy)
    last = history[-1]
    wrong = round((1.0 - last.held_accuracy) * len(digits.held_y))
    console.print(f"Of {len(digits.held_y)} held-out digits, {wrong} are taken for the other.\n")
    return history


def one_example(params: network.Params, digits: Digits) -> WengertList:
    """The Wengert list of the loss of the first held-out digit."""
    return wengert.trace(network.loss)(params, digits.held_x[:1], digits.held_y[:1])
