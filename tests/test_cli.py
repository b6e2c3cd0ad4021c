"""The command line: what it prints, where it leaves the report, and how it refuses."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from wengert.cli import app
from wengert.tour import network

runner = CliRunner()


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
    for words in ("reverse (wengert.grad)", "complex step", "SymPy", "v1 * v2", "central differences", "accuracy"):
        assert words in result.output
    assert str(out) in result.output.replace("\n", "")
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nowhere-at-all"], "There is no folder nowhere-at-all"),
        (["--out", "nowhere-at-all/report.html"], "There is no folder nowhere-at-all"),
        (["--out", "."], "is a folder"),
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
    assert name in result.output and "pip install 'wengert[tour]'" in result.output


def test_the_tour_goes_without_torch(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    result = runner.invoke(app, ["tour", "--epochs", "1", "--out", str(tmp_path / "report.html")])
    assert result.exit_code == 0, result.output
    assert "not installed" in result.output


def test_a_wrong_gradient_stops_the_tour(monkeypatch, tmp_path):
    monkeypatch.setattr(network, "difference_error", lambda *_: float("nan"))
    result = runner.invoke(app, ["tour", "--out", str(tmp_path / "report.html")])
    assert result.exit_code == 1 and "gradient" in str(result.exception)
    assert not list(tmp_path.iterdir())
