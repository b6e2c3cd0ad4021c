"""What all tests share: object code is kept in a folder of this run's own, so that none is left with the user."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _object_code(tmp_path_factory):
    before = os.environ.get("WENGERT_CACHE")
    os.environ["WENGERT_CACHE"] = str(tmp_path_factory.mktemp("objects") / "wengert")
    yield
    if before is None:
        del os.environ["WENGERT_CACHE"]
    else:
        os.environ["WENGERT_CACHE"] = before
