"""Shapes, axes, joining and creation, on traced arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.core import aval_of

RNG = np.random.default_rng(5)
V = RNG.normal(size=4)
M = RNG.normal(size=(2, 3))
S = RNG.normal(size=(3, 3))
T = RNG.normal(size=(2, 3, 4))
Z = RNG.normal(size=(2, 3)) + 1j * RNG.normal(size=(2, 3))
O = np.array(0.7)  # noqa: E741
ARRAYS = {"V": V, "M": M, "S": S, "T": T, "Z": Z, "O": O}

ENTRIES: dict[str, Callable[[Any], Any]] = {
    "T reshape": lambda x: np.reshape(x, (4, -1)),
    "T reshape F": lambda x: np.reshape(x, (4, 6), order="F"),
    "M reshape A": lambda x: x.T.reshape((2, 3), order="A"),
    "M reshape copy": lambda x: np.reshape(x, -1, copy=True),
    "M method reshape": lambda x: x.reshape(3, 2) * x.reshape((3, -1)),
    "O reshape": lambda x: np.reshape(x, (1, 1)),
    "T ravel": np.ravel,
    "T ravel F": lambda x: x.ravel("F"),
    "T ravel K": lambda x: x.transpose(1, 2, 0).ravel("K"),
    "T flatten": lambda x: x.flatten(),
    "T flatten F": lambda x: x.flatten("F"),
    "T transpose": np.transpose,
    "T transpose axes": lambda x: np.transpose(x, (1, -1, 0)),
    "T permute_dims": lambda x: np.permute_dims(x, (2, 0, 1)),
    "T method transpose": lambda x: x.transpose(2, 0, 1) + x.transpose((2, 0, 1)) + x.transpose([2, 0, 1]),
    "M T": lambda x: x.T,
    "O T": lambda x: x.T * x.transpose(),
    "T mT": lambda x: x.mT,
    "T matrix_transpose": lambda x: np.matrix_transpose(x) + np.linalg.matrix_transpose(x),
    "T swapaxes": lambda x: np.swapaxes(x, 0, -1),
    "T moveaxis": lambda x: np.moveaxis(x, (0, 1), (-1, 0)),
    "T rollaxis": lambda x: np.rollaxis(x, 2, 1),
    "M squeeze": lambda x: np.squeeze(x[:, None, :, None]),
    "M squeeze axis": lambda x: x[:, None, :, None].squeeze((1,)),
    "M expand_dims": lambda x: np.expand_dims(x, (0, -1)),
    "O atleast": lambda x: (np.atleast_1d(x), np.atleast_2d(x), np.atleast_3d(x)),
    "V atleast": lambda x: (*np.atleast_1d(x, 2.0), np.atleast_2d(x), np.atleast_3d(x)),
    "M atleast_3d": np.atleast_3d,
    "V broadcast_to": lambda x: np.broadcast_to(x, (2, 3, 4)),
    "O broadcast_to": lambda x: np.broadcast_to(x, 3),
    "M broadcast_arrays": lambda x: np.broadcast_arrays(x, x[:, :1], np.ones(3)),
    "V concatenate": lambda x: np.concatenate([x, [1.0], x[1:], np.arange(2)]),
    "M concatenate axis": lambda x: np.concat((x, x[:, :1]), axis=-1),
    "M concatenate None": lambda x: np.concatenate([x, x.T], axis=None),
    "M concatenate rows": lambda x: np.concatenate(x),
    "V concatenate dtype": lambda x: np.concatenate([x, x], dtype=complex),
    "V stack": lambda x: np.stack([x, 2 * x, np.ones(4)], axis=1),
    "V stack scalars": lambda x: np.stack([x[0], 1.0, x[2], 3]),
    "V stack rows": lambda x: np.stack(x) * np.stack([*x]),
    "M stack axis": lambda x: np.stack((x, x * x), -1),
    "M vstack": lambda x: np.vstack([x, x[0]]),
    "M hstack": lambda x: np.hstack([x, x[:, :1]]),
    "V hstack": lambda x: np.hstack([x, x[0]]),
    "M dstack": lambda x: np.dstack([x, x * x]),
    "V column_stack": lambda x: np.column_stack([x, x * x, np.ones((4, 2))]),
    "T split": lambda x: np.split(x, 2, axis=2),
    "V split at": lambda x: np.split(x, [1, 3, 9]),
    "V array_split": lambda x: np.array_split(x, 3),
    "V hsplit": lambda x: np.hsplit(x, 2),
    "M vsplit": lambda x: np.vsplit(x, 2),
    "T dsplit": lambda x: np.dsplit(x, 4)[1],
    "M unstack": lambda x: np.unstack(x, axis=1),
    "M block": lambda x: np.block([[x, np.ones((2, 1))], [x[:1], x[1:, :1]]]),
    "V block": lambda x: np.block([x, x[0], 1.0]),
    "M block of one": np.block,
    "M append": lambda x: np.append(x, x[0]) * np.append(x, x[:1], axis=0).sum(),
    "M flip": np.flip,
    "T flip axis": lambda x: np.flip(x, (0, 2)),
    "M fliplr": np.fliplr,
    "M flipud": np.flipud,
    "T rot90": lambda x: [np.rot90(x, k, (1, 2)) for k in range(-1, 4)],
    "M roll": lambda x: np.roll(x, 4),
    "M roll axis": lambda x: np.roll(x, (1, -2), axis=(0, 1)),
    "M roll twice": lambda x: np.roll(x, 1, axis=(1, 1)),
    "M tile": lambda x: np.tile(x, (2, 1, 2)),
    "T tile fewer": lambda x: np.tile(x, 2),
    "O tile": lambda x: np.tile(x, 3),
    "M repeat": lambda x: np.repeat(x, 2),
    "M repeat axis": lambda x: x.repeat([1, 0, 3], axis=1),
    "M resize": lambda x: np.resize(x, (2, 5)),
    "V diag": lambda x: np.diag(x, -1),
    "M diag of a matrix": lambda x: np.diag(x, 1),
    "T diagonal": lambda x: np.diagonal(x, 1, 0, 2),
    "T method diagonal": lambda x: x.diagonal(axis1=1, axis2=2),
    "T linalg.diagonal": lambda x: np.linalg.diagonal(x, offset=-1),
    "M diagflat": lambda x: np.diagflat(x, 1),
    "T tril": lambda x: np.tril(x, 1),
    "M triu": np.triu,
    "V tril of a vector": np.tril,
    "V meshgrid": lambda x: np.meshgrid(x, x[:2]),
    "V meshgrid ij": lambda x: np.meshgrid(x, x[:2], x[:1], indexing="ij", sparse=True),
    "M copy": lambda x: np.copy(x) * x.copy("F"),
    "M astype": lambda x: x.astype(complex) * 1j,
    "M astype float": lambda x: x.astype(np.float64, copy=False) + np.astype(x, np.float64),
    "M astype int": lambda x: x.astype(int) * x,
    "M astype bool": lambda x: x.astype(bool) * x,
    "Z real": lambda x: x.real * np.imag(x),
    "Z imag": lambda x: np.real(x) + x.imag,
    "Z conj": lambda x: x.conj() * x,
    "M real of a real": lambda x: x.real * np.conj(x) + x.imag + x.conj(),
    "M zeros_like": lambda x: x * np.ones_like(x) + np.zeros_like(x) + np.full_like(x, 2.0),
    "V full_like": lambda x: np.full_like(x, x[1], shape=(2, 2)) * np.full(2, x[0], like=x),
    "V like": lambda x: np.zeros(4, like=x) + np.eye(4, like=x)[1] * x + np.arange(4.0, like=x) + np.ones(4, like=x),
    "V array": lambda x: np.array([[x[0], 1.0], [x[1], x[2]]], like=x) * np.array(x[0], like=x),
    "V array ndmin": lambda x: np.array(x, ndmin=2, like=x) + np.asarray([x[0], 2, 3, 4], like=x),
    "V array dtype": lambda x: np.array([x[0], 2], dtype=complex, like=x),
    "V linspace": lambda x: np.linspace(x[0], x[1], 5),
    "M linspace": lambda x: np.linspace(x, 1.0, 3, endpoint=False, axis=1),
    "V linspace retstep": lambda x: np.linspace(x, x[::-1], 3, retstep=True),
    "V logspace": lambda x: np.logspace(x[0], x[1], 3),
    "M geomspace": lambda x: np.geomspace(np.exp(x), 2.0, 4, axis=-1),
    "V vander": lambda x: np.vander(x, 3) + np.vander(x, 3, increasing=True),
    "V sliding windows": lambda x: np.lib.stride_tricks.sliding_window_view(x, 2),
    "T sliding windows": lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 3), (1, 2)),
    "M pad": lambda x: np.pad(x, 1),
    "M pad widths": lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=((1.0, 2.0), (3.0, 4.0))),
    "M pad dict": lambda x: np.pad(x, {1: (1, 2)}),
    "V pad traced": lambda x: np.pad(x, 2, constant_values=x[0] * x[1]),
    "M pad edge": lambda x: np.pad(x, (2, 1), "edge"),
    "M pad reflect": lambda x: np.pad(x, 2, "reflect"),
    "M pad symmetric": lambda x: np.pad(x, 2, "symmetric"),
    "M pad wrap": lambda x: np.pad(x, ((0, 1), (4, 2)), mode="wrap"),
    "M pad linear_ramp": lambda x: np.pad(x, 2, "linear_ramp", end_values=1.0),
    "V nested lists": lambda x: x * [x[0], 1.0, x[2] * x[3], 2],
    "M nested lists of rows": lambda x: np.sum(x * [x[1], [1.0, x[0, 0], 2.0]]),
}


def array_of(name: str) -> Any:
    return ARRAYS[name.split()[0]]


@pytest.mark.parametrize("name", ENTRIES)
def test_entry(name: str, judge: Callable[..., None]) -> None:
    judge(ENTRIES[name], array_of(name))


@pytest.mark.parametrize(
    "name", ["M reshape copy", "T transpose", "V concatenate", "M pad", "M roll", "V diag", "M copy"]
)
def test_single_precision_stays(name: str) -> None:
    x = array_of(name).astype(np.float32)
    value, pullback = wg.vjp(ENTRIES[name], x)
    assert value.dtype == ENTRIES[name](x).dtype
    assert pullback(np.ones_like(value))[0].dtype == np.float32


MISTAKES: dict[str, Callable[[Any], Any]] = {
    "M reshape": lambda x: np.reshape(x, (4, 2)),
    "M reshape two unknown": lambda x: x.reshape(-1, -1),
    "M transpose repeated": lambda x: np.transpose(x, (0, 0)),
    "M transpose length": lambda x: np.transpose(x, (0, 1, 2)),
    "M swapaxes": lambda x: np.swapaxes(x, 0, 2),
    "M moveaxis": lambda x: np.moveaxis(x, 0, 5),
    "M squeeze": lambda x: np.squeeze(x, axis=0),
    "M expand_dims": lambda x: np.expand_dims(x, (0, 0)),
    "V mT": lambda x: x.mT,
    "M broadcast_to": lambda x: np.broadcast_to(x, (2, 4)),
    "M concatenate": lambda x: np.concatenate([x, x[:, :2]]),
    "M concatenate axis": lambda x: np.concatenate([x, x], axis=2),
    "M concatenate ranks": lambda x: np.concatenate([x, x[0]]),
    "V concatenate scalars": lambda x: np.concatenate([x[0], x[1]]),
    "V concatenate casting": lambda x: np.concatenate([x, x], dtype=int),
    "V stack": lambda x: np.stack([x, x[1:]]),
    "V stack axis": lambda x: np.stack([x, x], axis=3),
    "V split": lambda x: np.split(x, 3),
    "V array_split": lambda x: np.array_split(x, 0),
    "V vsplit": lambda x: np.vsplit(x, 2),
    "V fliplr": lambda x: np.fliplr(x),
    "M rot90": lambda x: np.rot90(x, axes=(0, 0)),
    "M roll": lambda x: np.roll(x, 1, axis=2),
    "M repeat": lambda x: np.repeat(x, [1, 2], axis=1),
    "V diagonal": np.diagonal,
    "T diag": np.diag,
    "M pad": lambda x: np.pad(x, ((1, 2, 3),)),
    "M pad negative": lambda x: np.pad(x, -1),
    "V ragged": lambda x: x + np.array([[x[0]], [x[1], x[2]]], like=x),
    "V astype": lambda x: x.astype(int, casting="safe"),
    "O linspace": lambda x: np.linspace(x, 1.0, -1),
    "V meshgrid": lambda x: np.meshgrid(x, x, indexing="yx"),
    "V block depth": lambda x: np.block([x, [x]]),
    "V imag": lambda x: setattr(x, "imag", 1.0),
}
OTHER_WORDS = {"M transpose repeated", "V ragged", "V block depth"}  # of the type and sense of NumPy's


@pytest.mark.parametrize("name", [name for name in MISTAKES if name not in OTHER_WORDS])
def test_mistake(name: str, same_error: Callable[..., None]) -> None:
    same_error(MISTAKES[name], array_of(name))


REFUSALS: dict[str, Callable[[Any], Any]] = {
    "pad mode": lambda x: np.pad(x, 1, "mean"),
    "pad odd": lambda x: np.pad(x, 1, "reflect", reflect_type="odd"),
    "resize in place": lambda x: x.resize(8),
    "view as": lambda x: x.view(complex),
    "flags": lambda x: x.flags,
    "astype str": lambda x: x.astype(str),
    "write through reshape": lambda x: x.reshape(2, 2).fill(1.0),
    "write through ravel": lambda x: x.ravel().__setitem__(0, 1.0),
    "plain full": lambda x: np.full(4, x),
    "plain full_like": lambda x: np.full_like(np.zeros(4), x),
    "plain out": lambda x: np.concatenate([x, x], out=np.zeros(8)),
    "np.array": lambda x: np.array([x[0], x[1]]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(name: str) -> None:
    for transform in (wg.vjp, lambda f, x: wg.jvp(f, (x,), (x,)), lambda f, x: wg.vmap(f)(x[None])):
        with pytest.raises(wg.errors.WengertError):
            transform(REFUSALS[name], V.copy())


def test_views_and_copies_follow_numpy() -> None:
    """Whether a reshape shares memory is NumPy's own decision, by the memory order of what is reshaped."""

    def f(x: Any) -> Any:
        y = 1.0 * x
        views = [y.reshape(3, 2), y.T.reshape(-1), y[:, :2].reshape(-1), y[::-1].ravel(), y.T.reshape(-1, order="F")]
        part = y[:, 1:]
        part *= 2.0
        views.append(part.reshape(-1))
        y[0] = x[1] * x[0]
        return views

    want = f(M)
    for got in (wg.vjp(f, M)[0], wg.jvp(f, (M,), (M,))[0], list(wg.vmap(f)(np.stack([M, M])))):
        for g, w in zip(got, want, strict=True):
            np.testing.assert_array_equal(g if g.shape == w.shape else g[1], w)


def test_scalars_and_arrays_without_axes_stay_apart() -> None:
    def kinds(x: Any) -> list[bool]:
        y = [
            x.T,
            x.copy(),
            np.copy(x),
            np.squeeze(x),
            x.reshape(()),
            np.real(x),
            x.astype(complex),
            np.broadcast_to(x, ()),
        ]
        return [aval_of(v).scalar for v in y]

    for value in (np.float64(0.5), np.array(0.5)):
        seen: list[bool] = []
        wg.vjp(lambda x, seen=seen: seen.extend(kinds(x)) or x * 1.0, value)
        assert seen == kinds(value)


def test_constants_belong_to_the_newest_trace() -> None:
    """A buffer made like an array of the outer transform takes values of the inner one, and is promoted by them."""

    def outer(x: Any) -> Any:
        def inner(y: Any) -> Any:
            buffer = np.zeros(2, like=x)
            buffer[0] = x * y
            buffer[1] = y**2
            return buffer[0] * buffer[1]

        return wg.grad(inner)(2.0 * x)

    assert wg.grad(outer)(1.5) == pytest.approx(3 * 4 * 3 * 1.5**2)  # d/dx 3xy² at y = 2x


def test_object_arrays_are_stacked() -> None:
    def f(x: Any) -> Any:
        rows = np.empty(2, dtype=object)
        rows[0], rows[1] = x[:2] * x[2], x[2:]
        return np.array([x[0], x[1]], dtype=object) * x[:2], x[:2] + rows

    value, _ = wg.vjp(f, V)
    assert value[0].dtype == float and np.array_equal(value[0], V[:2] ** 2) and value[1].shape == (2, 2)
    wg.testing.check_grads(lambda x: np.sum(f(x)[0]) * np.sum(f(x)[1]) if wg_traced(x) else plain(x), (V,))


def wg_traced(x: Any) -> bool:
    return not isinstance(x, np.ndarray)


def plain(x: Any) -> Any:
    return np.sum(x[:2] ** 2) * np.sum(x[:2] + np.stack([x[:2] * x[2], x[2:]]))
