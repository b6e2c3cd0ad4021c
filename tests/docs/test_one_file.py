"""The documents run: the tutorial, and every Python block of the pages, with the results that they show."""

import ast
import contextlib
import io
import re
import runpy
import textwrap
from pathlib import Path

import numpy as np
import pytest

from wengert.core import REGISTRY, UFUNCS
from wengert.numpy.table import FUNCTIONS

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md", "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.stem != "compiler"),
]  # docs/compiler.md is a session of the interpreter, which test_compiler.py checks  # fmt: skip
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
REPR = {name: getattr(np, name) for name in ("array", "float32", "float64", "complex128")} | {"np": np}


def blocks(text):
    """(language, code, line number) of the fenced blocks of a page."""
    return [
        (found[2], textwrap.dedent(found[3]), text.count("\n", 0, found.start(3)) + 1) for found in FENCE.finditer(text)
    ]


def shown_result(comment):
    """The value that a comment shows, as in `# np.float64(0.5)`; a comment in words gives None."""
    try:
        return eval(comment, dict(REPR))
    except (SyntaxError, NameError):
        return None


def same(got, shown):
    """Whether two values are alike in type, dtype, shape, and to 1e-12 or as many digits as an array shows."""
    if type(got) is not type(shown):
        return False
    if isinstance(got, dict):
        return got.keys() == shown.keys() and all(same(got[key], shown[key]) for key in got)
    if isinstance(got, tuple | list):
        return len(got) == len(shown) and all(map(same, got, shown))
    if isinstance(got, np.ndarray):
        precise = bool(np.allclose(got, shown, rtol=1e-12, atol=0))
        return got.dtype == shown.dtype and got.shape == shown.shape and (precise or repr(got) == repr(shown))
    return bool(np.isclose(got, shown, rtol=1e-12, atol=0)) if isinstance(got, int | float | complex) else got == shown


def run(code, namespace, file="<block>"):
    """Execute a block; the number of results that it shows, each compared with what its statement gives."""
    lines = code.splitlines()
    compared = 0
    for statement in ast.parse(code, file).body:
        line = lines[statement.end_lineno - 1]
        comment = line[len(line.encode()[: statement.end_col_offset].decode()) :].partition("#")[2].strip()
        shown = shown_result(comment)
        if isinstance(statement, ast.Expr) and shown is not None:
            got = eval(compile(ast.Expression(statement.value), file, "eval"), namespace)
            assert same(got, shown), f"{file}, `{line.strip()}` gives {got!r}"
            compared += 1
        else:
            exec(compile(ast.Module([statement], []), file, "exec"), namespace)
    return compared


@pytest.fixture(autouse=True)
def _tables():
    """Blocks may register primitives; other tests must not meet them."""
    before = [(table, dict(table)) for table in (REGISTRY, UFUNCS, FUNCTIONS)]
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)


def test_the_tutorial_runs_and_prints_each_section(capsys):
    runpy.run_path(str(ROOT / "docs" / "wengert_in_one_file.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert [int(number) for number in re.findall(r"^ ?(\d+)  ", printed, re.MULTILINE)] == list(range(1, 12))


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run_and_show_what_they_give(page):
    """Blocks of one page share their names. A ```text block after a Python block is what that one prints."""
    namespace, printed = {"__name__": page}, ""
    for language, code, line in blocks((ROOT / page).read_text(encoding="utf-8")):
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                run(code, namespace, f"{page}:{line}")
            printed = out.getvalue()
        elif language == "text":
            assert code.rstrip() == printed.rstrip(), f"{page}:{line}"


FIRST_LINES = """\
import numpy as np, wengert as wg
f = lambda x: np.log(np.sin(x**2) + np.exp(x))
wg.grad(f)(1.5)                      # np.float64(0.4937805304154178)
f(wg.Dual(1.5, 1.0))                 # a dual number
x = wg.Variable(1.5); f(x).backward(); x.grad
print(wg.trace(f)(1.5))              # the Wengert list
wg.hessian(lambda w: np.sum(np.tanh(w) ** 2))(np.ones(3))
"""


def test_the_first_lines_of_the_readme():
    assert blocks((ROOT / "README.md").read_text(encoding="utf-8"))[0][1] == FIRST_LINES
    namespace = {}
    assert run(FIRST_LINES, namespace) == 1
    slope, f, x = 0.49378053041541773, namespace["f"], namespace["x"]
    dual = f(namespace["wg"].Dual(1.5, 1.0))
    assert dual.primal == f(1.5) and dual.tangent == pytest.approx(slope, rel=1e-15) == x.grad
    assert len(namespace["wg"].trace(f)(1.5).equations) == 5
    hessian = namespace["wg"].hessian(lambda w: np.sum(np.tanh(w) ** 2))(np.ones(3))
    tanh = np.tanh(1.0)
    np.testing.assert_allclose(hessian, np.eye(3) * 2 * (1 - tanh**2) * (1 - 3 * tanh**2), rtol=1e-14)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("1 + 1  # 3", "gives 2"),
        ("import numpy as np\nnp.float64(0.5)  # 0.5", "gives np.float64"),
        ("import numpy as np\nnp.ones(2)  # array([1., 2.])", "gives array"),
        ("(1.0, 2.0)  # (1.0, 2.0, 3.0)", "gives"),
    ],
)
def test_a_wrong_result_in_a_block_is_found(code, fault):
    with pytest.raises(AssertionError, match=fault):
        run(code, {})


def test_a_comment_in_words_is_no_result():
    assert run("1 + 1  # a sum\nx = 3  # 4", {}) == 0
    assert run("1 + 1  # 2\n[0.25, 1j]  # [0.25, 1j]", {}) == 2
