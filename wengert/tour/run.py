"""The tour's four steps, printed as they go."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

import wengert
from wengert.errors import WengertError
from wengert.look.table import Line, as_table, lines
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
    started = time.perf_counter()
    check_place(out)
    exact = exact_derivative()
    digits = data.load(directory, seed)

    _heading(console, "1  One derivative, five ways")
    derivatives = differentiate(exact)
    _print_derivatives(derivatives, exact, console)

    _heading(console, "2  A Wengert list, read both ways")
    rows = lines(product, 1.0, 2.0)
    _print_list(rows, console)

    _heading(console, "3  Learning to tell four from nine")
    rng = np.random.default_rng(seed)
    params = network.initial(digits.train_x.shape[1], rng)
    _print_task(params, digits, console)
    difference_error, torch_error = check_gradient(params, digits, rng, console)
    history, gain = learn(params, digits, epochs, rng, console)

    _heading(console, "4  The report")
    example = one_example(history[-1].params, digits)
    findings = Findings(
        derivatives, str(exact), rows, digits, difference_error, torch_error, history, gain, example, seed
    )
    try:
        report.write(out, findings)
    except OSError as error:
        raise TourError(
            f"The report could not be written to {out} ({error.strerror}). Everything else went well. Name another "
            "file with --out."
        ) from None
    console.print("The loss curve, digits with their predictions and the graph of one example:")
    console.print(Text(f"  {out.resolve()}", style="bold"), soft_wrap=True)
    console.print(f"Open it in a browser. The tour took {time.perf_counter() - started:.1f} s.\n")
    console.print(f"Your turn: start {_python()} and type")
    console.print("  import numpy as np, wengert as wg\n  print(wg.trace(lambda x: x * np.sin(x))(2.0))", markup=False)


def check_place(out: Path) -> None:
    """Raise `TourError` where a report cannot be written to `out`."""
    # os.path's questions, unlike Path's, answer no where a folder on the way may not be read
    if os.path.isdir(out):
        raise TourError(
            f"{out} is a folder. --out names the file of the report. Write for example {out / 'tour.html'}."
        )
    if os.path.exists(out) and not os.path.isfile(out):
        raise TourError(
            f"{out} is not an ordinary file. --out names the file of the report, which is replaced as a whole. Name "
            "another file."
        )
    folder = out.resolve().parent
    if not os.path.isdir(folder):
        raise TourError(
            f"There is no folder {out.parent}. --out names the file of the report, and its folder must exist. Make "
            "the folder, or name another file."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TourError(
            f"Nothing can be written to the folder {folder}. The report would be lost at the end of the tour. Name "
            "a file in another folder with --out."
        )


def _heading(console: Console, text: str) -> None:
    console.print()
    console.rule(f"[bold]{text}", align="left")


def _python() -> str:
    """How the user calls the Python that has wengert: relative to where they are, if it lies below."""
    program = Path(sys.executable)
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


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
            "SymPy is not installed. The tour measures errors against its 50-digit value. Install it with "
            f"`{data.INSTALL}`."
        ) from None
    return sympy


def _print_derivatives(derivatives: list[Derivative], exact: Any, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    table.add_column("derivative", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    for row in derivatives:
        table.add_row(row.method, _marked(repr(row.value), str(exact)), f"{row.error:.1e}")
    red = " Digits in [red]red[/red] are wrong." if console.color_system else ""
    console.print(f"d/dx ln(sin x² + eˣ) at x = 1.5.{red}")
    console.print(table)
    console.print(f"To 50 digits it is {exact}.", soft_wrap=True)
    gap = np.spacing(float(exact))
    console.print(f"float64 has a number every {gap:.1e} there: an error of that size is rounding.")


def _marked(found: str, exact: str) -> Text:
    """`found`, with what follows its longest common beginning with `exact` in red."""
    right = next((k for k, (one, other) in enumerate(zip(found, exact, strict=False)) if one != other), len(found))
    return Text.assemble(found[:right], (found[right:], "red"))


# -------------------------------------------------------------------------------------------------------- the list


def _print_list(rows: list[Line], console: Console) -> None:
    x1, x2, *_, result = rows
    console.print("f(x1, x2) = (x1 + x2) · sin x1 at (1, 2), one elementary operation to a line.")
    console.print(as_table(rows))
    readings = Table.grid(padding=(0, 2, 0, 0))
    readings.add_row("Tangents run down, with x1 moving and x2 at rest:", f"∂f/∂x1 = {result.tangent:.6g}")
    readings.add_row("Adjoints run up, from the result:", f"∂f/∂x1 = {x1.adjoint:.6g}")
    readings.add_row("", f"∂f/∂x2 = {x2.adjoint:.6g}")
    console.print(readings)


# ------------------------------------------------------------------------------------------------------------- learning


def _print_task(params: network.Params, digits: Digits, console: Console) -> None:
    pixels, weights = len(params["W1"]), sum(value.size for value in params.values())
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_row("digits", Text(digits.source))
    facts.add_row("", f"{len(digits.train_y)} to learn from, {len(digits.held_y)} held out")
    facts.add_row("network", f"{pixels} pixels → {network.HIDDEN} tanh units → one probability; {weights} weights")
    facts.add_row("loss", f"cross-entropy, in mini-batches of {network.BATCH}")
    console.print(facts)


def check_gradient(
    params: network.Params, digits: Digits, rng: np.random.Generator, console: Console
) -> tuple[float, float | None]:
    """Compare the loss's gradient with central differences and PyTorch, print both, and raise where they disagree."""
    x, y = digits.train_x[:CHECKED], digits.train_y[:CHECKED]
    with console.status("Checking the gradient …"):  # PyTorch takes seconds to import
        differences = network.difference_error(params, x, y, rng)
        torch = network.torch_error(params, x, y)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("the gradient in float64, checked against", no_wrap=True)
    table.add_column("relative error of the norm", justify="right", no_wrap=True)
    table.add_row("central differences", f"{differences:.1e}")
    table.add_row("PyTorch", "skipped: not installed" if torch is None else f"{torch:.1e}")
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
) -> tuple[list[network.Epoch], network.Gain]:
    """Train with a compiled gradient, behind a progress bar; print how it went, and what compiling gained."""
    gradient = network.compiled()
    history: list[network.Epoch] = []
    columns = (
        TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=epochs, note="")
        for epoch in network.train(params, digits, epochs, rng, gradient):
            history.append(epoch)
            note = f"loss {epoch.loss:.4f}  held-out accuracy {epoch.held_accuracy:.1%}"
            progress.update(task, completed=epoch.number, note=note)
    gain = network.gain(gradient, history[-1].params, digits)
    console.print(report.verdict(history[-1], digits))
    console.print(Text(report.gained(gain)))
    return history, gain


def one_example(params: network.Params, digits: Digits) -> WengertList:
    """The Wengert list of the loss of the first held-out digit."""
    return wengert.trace(network.loss)(params, digits.held_x[:1], digits.held_y[:1])
