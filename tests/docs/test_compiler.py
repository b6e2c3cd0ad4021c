"""docs/compiler.md says what happens: its examples are run."""

import doctest
from pathlib import Path

import pytest

from wengert.compile.machine import engine

PAGE = Path(__file__).parents[2] / "docs" / "compiler.md"


@pytest.mark.skipif(engine.unavailable() is not None, reason="the page shows native code")
def test_page(tmp_path, monkeypatch):
    monkeypatch.setenv("WENGERT_CACHE", str(tmp_path))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags, encoding="utf-8")
    assert result.attempted > 12 and result.failed == 0
