"""The command line: what it prints, where it leaves the report, and how it refuses."""

import gzip
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from wengert.cli import app
from wengert.compile.machine import engine
from wengert.tour import network, run

runner = CliRunner()

# Each tour compiles its own gradient, and one process takes many tours here
pytestmark = pytest.mark.filterwarnings("ignore:jit.* is one of many jitted functions")


class NoTorch(MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname == "torch":
            raise ModuleNotFoundError("No module named 'torch'")


@pytest.fixture
def no_torch(monkeypatch):
    """PyTorch cannot be imported. (A None in sys.modules would say so too, but SciPy stumbles over it.)"""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoTorch(), *sys.meta_path])


def test_version():
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0 and result.output.startswith("wengert 0.")


def test_help_lists_the_tour_without_importing_it():
    code = (
        "import sys; from typer.testing import CliRunner; from wengert.cli import app; "
        "assert 'tour' in CliRunner().invoke(app, ['--help']).output; "
        "print([name for name in ('sympy', 'sklearn', 'torch', 'wengert.tour.run') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_tour_goes_all_the_way(tmp_path):
    out = tmp_path / "report.html"
    result = runner.invoke(app, ["tour", "--out", str(out), "--epochs", "2", "--seed", "3"])
    assert result.exit_code == 0, result.output
    for words in (
        "reverse (wengert.grad)",
        "complex step",
        "SymPy",
        "v1 * v2",
        "central differences",
        "held-out digits",
        "jit: a gradient in",
    ):
        assert words in result.output
    assert str(out) in result.output.replace("\n", "")
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nowhere-at-all"], "There is no folder nowhere-at-all"),
        (["--out", "nowhere-at-all/report.html"], "There is no folder nowhere-at-all"),
        (["--data", __file__], "is a file, not a folder"),
        (["--out", "."], "is a folder"),
        (["--out", os.devnull], "not an ordinary file"),
        (["--epochs", "0"], "epochs"),
        (["--seed", "-1"], "seed"),
        (["--sed", "1"], "--sed"),
    ],
)
def test_what_a_user_can_mend_ends_with_2_and_a_message(arguments, words):
    result = runner.invoke(app, ["tour", *arguments])
    assert result.exit_code == 2
    assert words in result.output and "Traceback" not in result.output


@pytest.mark.parametrize(("module", "name"), [("sympy", "SymPy"), ("sklearn.datasets", "scikit-learn")])
def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    result = runner.invoke(app, ["tour"])
    assert result.exit_code == 2
    assert name in result.output and "pip install scikit-learn sympy" in result.output


def test_the_tour_goes_without_torch(no_torch, tmp_path):
    result = runner.invoke(app, ["tour", "--epochs", "1", "--out", str(tmp_path / "report.html")])
    assert result.exit_code == 0, result.output
    assert re.search(r"PyTorch\s+skipped: not installed", result.output)


def test_the_tour_goes_without_llvmlite(no_torch, monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "unavailable", lambda: "llvmlite is not installed (pip install 'wengert[jit]')")
    result = runner.invoke(app, ["tour", "--epochs", "1", "--out", str(tmp_path / "report.html")])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "It runs by NumPy, not native code: llvmlite is not installed (pip install 'wengert[jit]')." in said


def test_a_wrong_gradient_stops_the_tour(monkeypatch, tmp_path):
    monkeypatch.setattr(network, "difference_error", lambda *_: float("nan"))
    result = runner.invoke(app, ["tour", "--out", str(tmp_path / "report.html")])
    assert result.exit_code == 1 and "gradient" in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_errors_stand_side_by_side_and_are_small():
    rows = run.differentiate(run.exact_derivative())
    assert len(rows) == 5
    errors = {row.method: row.error for row in rows}
    assert errors.pop("central differences") < 1e-9
    assert max(errors.values()) < 3e-16


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_wrapped_or_cut(width, tmp_path):
    out = tmp_path / "r.html"
    result = runner.invoke(
        app, ["tour", "--epochs", "1", "--out", str(out)], env={"COLUMNS": str(width), "TERM": "dumb"}
    )
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.output.splitlines()]
    assert all(len(line) <= width for line in lines if str(tmp_path) not in line)
    for whole in ("d/dx ln(sin x² + eˣ) at x = 1.5.", "  v3 = v1 * v2   2.52441    2.46238     1"):
        assert whole in lines
    assert not any("…" in line for line in lines)


def test_names_with_brackets_are_not_taken_for_markup(tmp_path, no_torch):
    folder = tmp_path / "[red]digits[bold]"
    folder.mkdir()
    write_mnist(folder)
    result = runner.invoke(
        app, ["tour", "--data", str(folder), "--epochs", "1", "--out", str(folder / "r.html")], env={"COLUMNS": "999"}
    )
    assert result.exit_code == 0, result.output
    assert f"MNIST in {folder}" in result.output and str(folder / "r.html") in result.output


# ----------------------------------------------------------------------------------------------------- --data and IDX


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path) -> None:
    """Fours and nines that can be told apart: a nine has its top filled."""
    rng = np.random.default_rng(5)
    labels = np.resize([4, 9, 1, 9, 4], 200).astype(np.uint8)
    images = rng.integers(0, 90, (200, 7, 5), np.uint8)
    images[labels == 9, :2] += 150
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))


def test_the_tour_learns_from_mnist_files(tmp_path, no_torch):
    write_mnist(tmp_path)
    out = tmp_path / "r.html"
    result = runner.invoke(app, ["tour", "--data", str(tmp_path), "--epochs", "20", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "35 pixels" in result.output and "All 32 held-out digits are told apart." in result.output
    assert "(fours and nines, 7×5)" in out.read_text(encoding="utf-8")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def swap(path: Path) -> None:
    path.write_bytes(idx(np.zeros(200, np.uint8)))


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def as_text(path: Path) -> None:
    path.write_text("<html>404 Not Found</html>")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (Path.unlink, "is missing"),
        (cut, "truncated"),
        (swap, "magic number 0x00000801"),
        (lengthen, "1 bytes more"),
        (as_text, "not an IDX file"),
    ],
)
def test_wrong_mnist_files_end_with_2_and_a_message(tmp_path, spoil: Callable[[Path], None], words):
    write_mnist(tmp_path)
    spoil(tmp_path / "train-images-idx3-ubyte")
    out = tmp_path / "r.html"
    result = runner.invoke(app, ["tour", "--data", str(tmp_path), "--out", str(out)])
    assert result.exit_code == 2
    assert words in result.output and "train-images-idx3-ubyte" in result.output and "Traceback" not in result.output
    assert not out.exists()


# ------------------------------------------------------------------------------------------------------ what goes wrong


def test_a_report_that_cannot_be_written_is_said_at_the_end_too(tmp_path, no_torch, monkeypatch):

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run.report.os, "replace", full)
    result = runner.invoke(app, ["tour", "--epochs", "1", "--out", str(tmp_path / "r.html")])
    assert result.exit_code == 2 and "No space left on device" in result.output
    assert not list(tmp_path.iterdir())


def test_a_folder_that_may_not_be_written_to_is_found_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(run.os, "access", lambda *_: False)  # root may write anywhere
    result = runner.invoke(app, ["tour", "--out", str(tmp_path / "r.html")])
    assert result.exit_code == 2 and "Nothing can be written" in result.output and "derivative" not in result.output


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_an_interrupt_ends_with_130_and_leaves_nothing(tmp_path):
    write_mnist(tmp_path)
    before = sorted(tmp_path.iterdir())
    code = "import sys; sys.modules['torch'] = None; from wengert.cli import main; main()"
    arguments = ["tour", "--data", str(tmp_path), "--epochs", "1000000", "--out", str(tmp_path / "r.html")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "skipped: not installed" in line:  # the next thing is the training
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip() == "Interrupted." and sorted(tmp_path.iterdir()) == before
