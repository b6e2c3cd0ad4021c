"""Copies: a write to one must not be seen in the other, in either direction."""

from __future__ import annotations

import copy

import numpy as np

from .row import Rows

ROWS = Rows()

COPIES = {
    "y.copy()": ("1d", lambda y: y.copy()),
    "np.copy": ("1d", lambda y: np.copy(y)),
    "np.array(like)": ("1d", lambda y: np.array(y, like=y)),
    "copy.copy": ("1d", lambda y: copy.copy(y)),
    "copy.deepcopy": ("1d", lambda y: copy.deepcopy(y)),
    "+y": ("1d", lambda y: +y),
    "1.0 * y": ("1d", lambda y: 1.0 * y),
    "y + 0": ("1d", lambda y: y + 0),
    "y ** 1": ("1d", lambda y: y**1),
    "y / 1": ("1d", lambda y: y / 1),
    "abs": ("1d", lambda y: abs(y)),
    "np.positive": ("1d", lambda y: np.positive(y)),
    "np.conj of a real array": ("1d", lambda y: np.conj(y)),
    "y.astype": ("1d", lambda y: y.astype(float)),
    "y.flatten": ("2d", lambda y: y.flatten()),
    "y.flatten of a vector": ("1d", lambda y: y.flatten()),
    "y[[0, 1]]": ("1d", lambda y: y[[0, 1]]),
    "y[[1]]": ("2d", lambda y: y[[1]]),
    "y[mask]": ("1d", lambda y: y[np.ones(4, dtype=bool)]),
    "y[:, [0, 2]]": ("2d", lambda y: y[:, [0, 2]]),
    "y[True]": ("1d", lambda y: y[True]),
    "y.take": ("1d", lambda y: y.take([0, 1])),
    "np.take": ("1d", lambda y: np.take(y, [0, 1, 2, 3])),
    "np.take_along_axis": ("1d", lambda y: np.take_along_axis(y, np.arange(4), 0)),
    "np.compress": ("1d", lambda y: np.compress([True] * 4, y)),
    "np.extract": ("1d", lambda y: np.extract([True] * 4, y)),
    "np.concatenate": ("1d", lambda y: np.concatenate([y])),
    "np.stack": ("1d", lambda y: np.stack([y])),
    "np.hstack": ("1d", lambda y: np.hstack([y])),
    "np.where": ("1d", lambda y: np.where(True, y, 0.0)),
    "np.select": ("1d", lambda y: np.select([y > 0], [y], 0.0)),
    "np.clip": ("1d", lambda y: np.clip(y, 0.0, 100.0)),
    "y.clip": ("1d", lambda y: y.clip(0.0, 100.0)),
    "np.maximum": ("1d", lambda y: np.maximum(y, 0.0)),
    "np.sort": ("1d", lambda y: np.sort(y)),
    "np.partition": ("1d", lambda y: np.partition(y, 1)),
    "np.roll": ("1d", lambda y: np.roll(y, 1)),
    "np.roll by none": ("1d", lambda y: np.roll(y, 0)),
    "np.repeat": ("1d", lambda y: np.repeat(y, 1)),
    "np.tile": ("1d", lambda y: np.tile(y, 1)),
    "np.resize": ("1d", lambda y: np.resize(y, (4,))),
    "np.pad": ("1d", lambda y: np.pad(y, 0)),
    "np.append": ("1d", lambda y: np.append(y, 1.0)),
    "np.insert": ("1d", lambda y: np.insert(y, 1, 5.0)),
    "np.delete": ("1d", lambda y: np.delete(y, 1)),
    "np.nan_to_num": ("1d", lambda y: np.nan_to_num(y)),
    "np.tril": ("square", lambda y: np.tril(y)),
    "np.triu": ("square", lambda y: np.triu(y, -5)),
    "np.diag of a vector": ("1d", lambda y: np.diag(y)),
    "np.diagflat": ("1d", lambda y: np.diagflat(y)),
    "np.sum over nothing": ("1d", lambda y: np.sum(y, axis=())),
    "np.cumsum": ("1d", lambda y: np.cumsum(y)),
    "np.meshgrid": ("1d", lambda y: np.meshgrid(y, y)[0]),
    "np.block of two": ("1d", lambda y: np.block([y, y])),
    "y.repeat": ("1d", lambda y: y.repeat(2)),
    "np.ravel of a transpose": ("2d", lambda y: np.array(y.T.ravel(), like=y)),
}


def _write_both(make):
    def program(x):
        y = 2.0 * x
        c = make(y)
        before = 1.0 * c
        c *= 3.0
        c[...] = c + 1.0
        after_writing_the_copy = 1.0 * y
        y[...] = x * x
        return before, c, after_writing_the_copy, y

    return program


for name, (an_input, make) in COPIES.items():
    ROWS.add(f"copy by {name}", _write_both(make), (an_input,), "works")


@ROWS.works("0d")
def copies_of_a_0d_array(x):
    a, b, c = x.copy(), np.copy(x), np.array(x, like=x)
    d = +x  # a scalar
    e = d
    a += 1.0
    b *= x
    c[...] = x * x
    e += 3.0
    return a, b, c, d, e, x


@ROWS.works("1d")
def elements_are_copies(x):
    y = 2.0 * x
    a, b = y[0], y[np.int64(1)]
    y[:2] = 0.0
    a += 1.0
    return y, a, b


@ROWS.works("1d")
def a_deep_copy_of_a_container(x):
    y = 2.0 * x
    state = {"y": y, "v": [y[1:]]}
    kept = copy.deepcopy(state)
    y *= 3.0
    return kept["y"], state["y"]


@ROWS.works("1d")
def a_container_holds_the_array_itself(x):
    y = 2.0 * x
    state = {"y": y, "v": [y[1:]]}
    shallow = copy.copy(state)
    y *= 3.0
    state["v"][0][0] = 1.0
    return shallow["y"], state["v"][0]


@ROWS.works("1d")
def results_that_alias_each_other(x):
    y = 2.0 * x
    return y, y, y[1:], x, x[:2]


@ROWS.works("1d", "2d", "complex", "strided", "fortran", "0d")
def the_argument_itself(x):
    return x


@ROWS.works("2d", "fortran")
def views_of_the_argument(x):
    return x.T, x[0], x.reshape(-1), x[:, ::-1]


@ROWS.works("1d")
def a_captured_array_is_returned(x):
    c = np.array([1.0, 2.0, 3.0, 4.0])
    y = x * c
    return y, c * 1.0


@ROWS.works("1d")
def np_conj_of_a_real_view(x):
    y = 2.0 * x
    a = y.conj()
    b = np.conj(y)
    a[0] = 5.0
    b[1] = 6.0
    return y, a, b
