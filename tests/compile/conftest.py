"""Tests of the compiler keep their object code in a folder of their own."""

import os

import pytest

from wengert.compile import passes

passes.DEBUG = True  # every list is checked after every pass


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    before = os.environ.get("WENGERT_CACHE")
    os.environ["WENGERT_CACHE"] = str(tmp_path_factory.mktemp("cache") / "wengert")
    yield
    if before is None:
        del os.environ["WENGERT_CACHE"]
    else:
        os.environ["WENGERT_CACHE"] = before
