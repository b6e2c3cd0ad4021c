"""Tests of the compiler check every list after every pass."""

from wengert.compile import passes

passes.DEBUG = True  # every list is checked after every pass
