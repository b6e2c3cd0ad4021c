"""Indexing, choosing, sorting and writing, on traced arrays. (Programs that write: tests/mutation.)"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg

RNG = np.random.default_rng(8)
V = RNG.normal(size=5)
M = RNG.normal(size=(3, 4))
T = RNG.normal(size=(3, 2, 4))
Z = RNG.normal(size=4) + 1j * RNG.normal(size=4)
O = np.array(0.7)  # noqa: E741
ARRAYS = {"V": V, "M": M, "T": T, "Z": Z, "O": O}
MASK = np.array([True, False, True])
PAIR = np.array([[0, 2], [1, 1]])

INDICES: dict[str, Any] = {
    "V int": 2,
    "V numpy int": np.int8(-1),
    "V slice": slice(1, None, 2),
    "V reversed": slice(None, None, -1),
    "V past the end": slice(3, 99),
    "V list": [0, 3, 0, -1],
    "V empty list": [],
    "V matrix": PAIR,
    "V mask": np.array([True, False, True, True, False]),
    "V True": True,
    "V False, None": (False, None),
    "V int, ellipsis": (2, ...),
    "V 0-d array": np.array(1),
    "V unsigned": np.array([1, 2], dtype=np.uint8),
    "Z list": [1, 1, 0],
    "O ()": (),
    "O ellipsis": ...,
    "O None": None,
    "O True": True,
    "M row": 1,
    "M element": (1, -1),
    "M column": (slice(None), 2),
    "M ellipsis": (..., 0),
    "M None": (None, slice(1), None, 2),
    "M 0-d array copies": np.array(1),
    "M pairs": ([0, 2, 2], [1, 3, 1]),
    "M grid": np.ix_([0, 2], [1, 1, 3]),
    "M mask": MASK,
    "M mask of all": RNG.random((3, 4)) < 0.5,
    "M slice, list": (slice(1, None), [3, 0]),
    "M int, list": (1, [3, 0, 0]),
    "T list in the middle": (slice(None), [1, 0, 1]),
    "T apart": (PAIR, slice(None), [1, 3]),
    "T apart by None": ([0, 1], None, [1, 0]),
    "T apart by an empty ellipsis": (slice(None), [0], ..., [1]),
    "T int apart": (0, slice(None), [1, 3]),
    "T mask, slice, list": (MASK, slice(None), [1, 3]),
    "T True between": (slice(None), True, 1),
    "T together, last": (slice(None), PAIR % 2, PAIR),
}


def array_of(name: str) -> Any:
    return ARRAYS[name.split()[0]]


@pytest.mark.parametrize("name", INDICES)
def test_read(name: str, judge: Callable[..., None]) -> None:
    judge(lambda x: x[INDICES[name]], array_of(name))


@pytest.mark.parametrize("name", INDICES)
def test_write(name: str, judge: Callable[..., None]) -> None:
    index = INDICES[name]

    def program(x: Any) -> Any:
        y = np.copy(x)
        y[index] = 1.5 * x[index] + x.sum()
        z = np.copy(x)
        z[index] = x.ravel()[0]
        return y, z

    judge(program, array_of(name), vmap=name[0] != "O")  # a lane of a vector is a scalar: no array to write to


@pytest.mark.parametrize("name", INDICES)
def test_add_at(name: str, judge: Callable[..., None]) -> None:
    def program(x: Any) -> Any:
        y = np.copy(x)
        np.add.at(y, INDICES[name], x.ravel()[0] * 2.0)
        np.subtract.at(y, INDICES[name], x[INDICES[name]])
        return y

    judge(program, array_of(name), vmap=name[0] != "O")


ENTRIES: dict[str, Callable[[Any], Any]] = {
    "V iteration": lambda x: [2.0 * e for e in x],
    "M iteration": lambda x: sum(row * k for k, row in enumerate(x)),
    "M unpacking": lambda x: (lambda a, b, c: a * b + c)(*x),
    "V len": lambda x: x * len(x),
    "V reversed": lambda x: list(reversed(x)),
    "M flat": lambda x: x.flat[2] * x.flat[-1] + x.T.flat[1:3],
    "M flat list": lambda x: x.flat[[1, 0]] * sum(x.flat),
    "M flat all": lambda x: x.flat[...] * x.flat.copy(),
    "M take": lambda x: np.take(x, [[1, 2], [0, 0]]),
    "M take axis": lambda x: np.take(x, [2, -1], axis=1),
    "M take one": lambda x: x.take(1, axis=0) * x.take(3),
    "T take in the middle": lambda x: np.take(x, PAIR % 2, axis=1),
    "V take wrap": lambda x: np.take(x, [-7, 12], mode="wrap") + np.take(x, [-7, 12], mode="clip"),
    "M take_along_axis": lambda x: np.take_along_axis(x, PAIR.repeat(2, 1)[[0, 1, 0]], 1),
    "M take_along_axis None": lambda x: np.take_along_axis(x, np.array([5, 0, 5]), None),
    "V choose": lambda x: np.choose([0, 1, 1, 0, 2], [x, x**2, 1.0]),
    "V method choose": lambda x: np.array([1, 0]).choose([1.0, 2.0]) * x[:2],
    "V choose wrap": lambda x: np.choose([-1, 1, 2, 3, 4], [x, x**2], mode="wrap"),
    "M compress": lambda x: np.compress([True, False, True], x, axis=1),
    "M method compress": lambda x: x.compress([False, True, True], 0) * x.compress([0, 1]),
    "M extract": lambda x: np.extract(np.arange(12).reshape(3, 4) % 3 == 0, x),
    "M where": lambda x: np.where(np.eye(3, 4) > 0, x, x**2),
    "V where broadcast": lambda x: np.where([[True], [False]], x, 2.0),
    "V where traced": lambda x: np.where(x > 0, x**2, -x),
    "V select": lambda x: np.select([x > 1, x > 0], [x, x**2], x**3),
    "V select default": lambda x: np.select([x > 0.2], [x**2]),
    "V sort": np.sort,
    "T sort": lambda x: np.sort(x, axis=1),
    "M sort None": lambda x: np.sort(x, None, stable=True),
    "V argsort": lambda x: x[np.argsort(x)[::-1]],
    "M partition": lambda x: np.sort(np.partition(x, 2), axis=1)[:, 2:],
    "M partition axis": lambda x: np.partition(x, (0, 1), axis=0)[:2],
    "V argpartition": lambda x: np.sort(x[np.argpartition(x, 2)[:3]]),
    "M lexsort": lambda x: np.take_along_axis(x, np.lexsort((x, np.round(x)), axis=0), 0),
    "Z sort": np.sort,
    "V searchsorted": lambda x: x * np.searchsorted([-1.0, 0.0, 1.0], x),
    "V searchsorted method": lambda x: np.sort(x).searchsorted([0.0, 1.0], "right") * x[0],
    "V digitize": lambda x: x * np.digitize(x, [-1.0, 0.0, 1.0], right=True),
    "V digitize downwards": lambda x: x * np.digitize(x, [1.0, 0.0, -1.0]),
    "M delete": lambda x: np.delete(x, [0, 2], axis=1),
    "M delete slice": lambda x: np.delete(x, slice(1, 7)),
    "M insert": lambda x: np.insert(x, [1, 3], x[:, :1] * 2.0, axis=1),
    "M insert one": lambda x: np.insert(x, 1, x[0], axis=0),
    "V insert many": lambda x: np.insert(x, 2, [1.0, x[0]]),
    "V insert several": lambda x: np.insert(x, [3, 1, 1], [5.0, x[0], x[1]]),
    "V interp": lambda x: np.interp(x, [-2.0, -0.1, 0.3, 2.0], [1.0, 3.0, -1.0, 0.0]),
    "V interp outside": lambda x: np.interp(3 * x, [-0.5, 0.3], [1.0, 3.0], left=x[0], right=7.0),
    "V interp values": lambda x: np.interp([-0.4, 0.35, 5.0], [-1.0, 0.0, 0.5, 1.0, 2.0], x),
    "V interp knots": lambda x: np.interp([-0.4, 0.35, 0.1], np.sort(x), np.sin(x)),
    "V interp one": lambda x: np.interp(x[0], [0.0], x[1:2]) + np.interp(x[0], [-2.0, 2.0], x[1:3]),
    "V interp period": lambda x: np.interp(x, [0.1, 2.0, 5.0], np.exp(x[:3]), period=6.0),
    "M trace of rows": lambda x: x[[0, 1, 2], [0, 1, 2]].sum(),
    "M apply_along_axis": lambda x: np.apply_along_axis(lambda v: v[:2] * v.sum(), 0, x),
    "T apply_along_axis": lambda x: np.apply_along_axis(lambda v: np.outer(v, v), 1, x),
    "V apply_along_axis": lambda x: np.apply_along_axis(np.sum, 0, x),
    "T apply_over_axes": lambda x: np.apply_over_axes(np.sum, x, [0, -1]),
    "V piecewise": lambda x: np.piecewise(x, [x < -0.5, x > 0.5], [lambda v: -v, lambda v: v * v, 2.0]),
    "V ediff1d": lambda x: np.ediff1d(x**2, to_end=x[:2], to_begin=1.0),
    "V bincount": lambda x: np.bincount([0, 3, 3, 1, 0], x, 6),
    "V isin": lambda x: x * np.isin(np.round(x), [0.0, 1.0]) + np.isin(np.round(x), 0.0, invert=True),
    "M unravel_index": lambda x: x[np.unravel_index(np.argmax(x), (3, 4))],
    "M fftshift": lambda x: np.fft.fftshift(x) * np.fft.ifftshift(x, axes=1),
    "M indices_from": lambda x: x[:, :3][np.tril_indices_from(x[:, :3])] + x[:, :3][np.triu_indices_from(x[:, :3])],
    "Z iscomplex": lambda x: x * np.iscomplex(x) + np.isreal(x),
    "V copyto": lambda x: _written(x, lambda y: np.copyto(y, x**2, where=[True, False, True, True, False])),
    "M put": lambda x: _written(x, lambda y: np.put(y, [0, -1, 14], [x[0, 1] ** 2, 3.0], mode="clip")),
    "M place": lambda x: _written(x, lambda y: np.place(y, np.eye(3, 4) > 0, [x[0, 0] * 2, x[1, 2]])),
    "M putmask": lambda x: _written(x, lambda y: np.putmask(y, np.eye(3, 4) > 0, x[0] ** 2)),
    "M fill_diagonal": lambda x: _written(x, lambda y: np.fill_diagonal(y, x[0] ** 2)),
    "T put_along_axis": lambda x: _written(x, lambda y: np.put_along_axis(y, PAIR[None] % 4, x[:, :, :1] ** 2, -1)),
    "V put_along_axis None": lambda x: _written(x, lambda y: np.put_along_axis(y, np.array([3, 0]), x[:2] ** 2, None)),
    "V multiply.at": lambda x: _written(x, lambda y: np.multiply.at(y, [0, 0, 3], x[:3])),
    "V power.at": lambda x: _written(x**2, lambda y: np.power.at(y, [1, 1], 1.3)),
    "V negative.at": lambda x: _written(x, lambda y: np.negative.at(y, [0, 0, 2])),
}
NEEDS_VALUES = {  # the shape of the answer, or of what is written, depends on values
    "V unique": lambda x: np.unique(np.abs(x)),
    "M unique axis": lambda x: np.unique(x[[0, 1, 0]], axis=0),
    "V unique all": lambda x: (np.unique_values(x), *np.unique_all(x)[:1], np.unique_counts(x).values),
    "V unique index": lambda x: np.unique(x, return_index=True, return_inverse=True, return_counts=True)[0],
    "V mask": lambda x: x[x > 0] ** 2,
    "M nonzero": lambda x: x[np.nonzero(x > 0)] * x[x > 0].sum(),
    "M argwhere": lambda x: x[tuple(np.argwhere(x > 0)[0])] * x.flat[np.flatnonzero(x > 0)],
    "V where alone": lambda x: x[np.where(x > 0)],
    "V trim_zeros": lambda x: np.trim_zeros(np.where(np.arange(5) % 4 == 0, 0.0, x)),
    "V compress": lambda x: np.compress(x > 0, x),
}


def _written(x: Any, write: Callable[[Any], None]) -> Any:
    y = x.copy()
    view = y[1:]
    write(y)
    return y, 2.0 * view


@pytest.mark.parametrize("name", ENTRIES)
def test_entry(name: str, judge: Callable[..., None]) -> None:
    judge(ENTRIES[name], array_of(name))


@pytest.mark.parametrize("name", NEEDS_VALUES)
def test_entry_that_needs_values(name: str, judge: Callable[..., None]) -> None:
    judge(NEEDS_VALUES[name], array_of(name), vmap=False, trace=False)
    for transform in (wg.vmap(NEEDS_VALUES[name]), wg.trace(NEEDS_VALUES[name])):
        with pytest.raises(wg.errors.WengertError):
            transform(np.stack([array_of(name)] * 2))


MISTAKES: dict[str, Callable[[Any], Any]] = {
    "V out of range": lambda x: x[9],
    "V list out of range": lambda x: x[[0, 9]],
    "V too many": lambda x: x[0, 0],
    "V float": lambda x: x[1.0],
    "V float array": lambda x: x[np.array([1.0])],
    "V traced float": lambda x: x[x[:2]],
    "V string": lambda x: x["a"],
    "V mask length": lambda x: x[np.array([True])],
    "M shapes": lambda x: x[[0, 1], [0, 1, 2]],
    "V two ellipses": lambda x: x[..., ...],
    "O iteration": lambda x: list(x),
    "O len": len,
    "V flat": lambda x: x.flat[7],
    "V take": lambda x: np.take(x, [0, 9]),
    "V take mode": lambda x: np.take(x, [0], mode="loop"),
    "M take axis": lambda x: np.take(x, 0, axis=2),
    "M take_along_axis": lambda x: np.take_along_axis(x, np.array([0]), 1),
    "M take_along_axis float": lambda x: np.take_along_axis(x, np.ones((3, 4)), 1),
    "V choose": lambda x: np.choose([0, 3], [x[:2], x[1:3]]),
    "V select": lambda x: np.select([x > 0], [x, x]),
    "V select not boolean": lambda x: np.select([x], [x]),
    "V where": lambda x: np.where(x > 0, x),
    "M sort": lambda x: np.sort(x, axis=2),
    "V sort kind": lambda x: np.sort(x, kind="bogus"),
    "V partition": lambda x: np.partition(x, 9),
    "M searchsorted": lambda x: np.searchsorted(x, 0.0),
    "M delete": lambda x: np.delete(x, 9, axis=1),
    "M insert": lambda x: np.insert(x, 9, 1.0, axis=1),
    "V put": lambda x: np.put(x.copy(), [9], x),
    "V place": lambda x: np.place(x.copy(), np.ones(3, bool), x),
    "V fill_diagonal": lambda x: np.fill_diagonal(x.copy(), x[0]),
    "V copyto": lambda x: np.copyto(x[:2], x),
    "V add.at": lambda x: np.add.at(x.copy(), [9], 1.0),
    "V interp": lambda x: np.interp(x, [0.0, 1.0], x, period=0),
    "V sliding windows": lambda x: np.lib.stride_tricks.sliding_window_view(x, 9),
    "V delete an element": lambda x: x.__delitem__(0),
    "V read-only": lambda x: np.broadcast_to(x, (2, 5)).__setitem__((0, 0), 1.0),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str, same_error: Callable[..., None]) -> None:
    same_error(MISTAKES[name], array_of(name))


def test_contains() -> None:
    seen: list[bool] = []
    wg.grad(lambda x: seen.extend([V[1] in x, 17.0 in x]) or x.sum())(V)
    assert seen == [True, False]


def test_many_reads_of_one_array_are_linear() -> None:
    """Each read adds to one buffer of cotangents: 20 000 of them take a moment, not 20 000 arrays of 20 000."""

    def total(x: Any) -> Any:
        return sum(x[k] * x[k] for k in range(len(x)))

    x = np.arange(20_000.0)
    start = time.perf_counter()
    np.testing.assert_allclose(wg.grad(total)(x), 2 * x)
    assert time.perf_counter() - start < 5.0


def test_reads_by_repeated_lists_add_up() -> None:
    def total(x: Any) -> Any:
        return sum((x[[k, k, 0]] ** 2).sum() for k in range(3)) + (x[...] * x).sum() + x[1:].sum()

    wg.testing.check_grads(total, (V,))


def test_an_array_without_axes_is_read_and_used() -> None:
    """A cotangent buffer of an array without axes, to which a plain term is added between two reads."""
    wg.testing.check_grads(lambda x: x[...] * x + np.sin(x[()]) * x[None].sum() + x * x[...], (O,))


def test_where_hides_what_it_does_not_choose() -> None:
    def f(x: Any) -> Any:
        return np.where(x > 0, np.sqrt(x), 0.0)

    for got in (wg.grad(f)(0.0), wg.jvp(f, (0.0,), (1.0,))[1], wg.grad(wg.grad(f))(0.0)):
        assert got == 0.0


# ------------------------------------------------------------------------------------------- indices that are traced

TABLE = RNG.normal(size=(3, 4))


def by_loop(f: Callable[..., Any], *columns: Any) -> Any:
    return np.stack([f(*row) for row in zip(*columns, strict=True)])


TRACED_READS: dict[str, Callable[[Any, Any], Any]] = {
    "row": lambda x, k: x[k],
    "column": lambda x, k: x[:, k],
    "element": lambda x, k: x[k, k],
    "apart": lambda x, k: x[k, None, k],
    "ellipsis": lambda x, k: x[..., k],
    "of a vector": lambda x, k: x[0][k],
    "matrix of indices": lambda x, k: x[:, np.stack([k, 2 - k])],
    "beside a list": lambda x, k: x[[0, 1], k],
    "beside a slice": lambda x, k: x[1:, None, k],
    "beside a mask": lambda x, k: x[MASK, k],
    "take": lambda x, k: np.take(x, k, axis=1),
    "take flat": lambda x, k: np.take(x, [k, k + 3]),
    "take_along_axis": lambda x, k: np.take_along_axis(x, np.broadcast_to(k, (3, 1)), 1),
    "choose": lambda x, k: np.choose(k, [x[0], x[1] ** 2, 0.5]),
    "sorted": lambda x, k: np.sort(x[k]),
    "argmax": lambda x, k: x[k, np.argmax(x[k])],
    "argsort": lambda x, k: x[:, np.argsort(x[k])],
}


@pytest.mark.parametrize("name", TRACED_READS)
def test_traced_index(name: str) -> None:
    """An index that differs from lane to lane, with the array the same in all or not; and one that a list computes."""
    f = TRACED_READS[name]
    xs, ks = RNG.normal(size=(5, 3, 4)), np.array([0, 2, 1, 1, 2])
    np.testing.assert_allclose(wg.vmap(f)(xs, ks), by_loop(f, xs, ks), rtol=1e-14)
    same = wg.vjp(lambda x: wg.vmap(f, in_axes=(None, 0))(x, ks), TABLE)[0]  # (a plain table has no say in table[k])
    np.testing.assert_allclose(same, by_loop(lambda k: f(TABLE, k), ks), rtol=1e-14)

    def loss(x: Any, k: Any) -> Any:
        return np.sum(np.sin(f(x, k)) * f(x, k))

    grads = by_loop(wg.grad(loss), xs, ks)
    np.testing.assert_allclose(wg.vmap(wg.grad(loss))(xs, ks), grads, rtol=1e-13)
    np.testing.assert_allclose(wg.grad(lambda x: wg.vmap(loss)(x, ks).sum())(xs), grads, rtol=1e-13)
    np.testing.assert_allclose(
        wg.grad(lambda x: wg.vmap(loss, in_axes=(None, 0))(x, ks).sum())(TABLE),
        sum(wg.grad(loss)(TABLE, k) for k in ks), rtol=1e-13, atol=1e-14,
    )  # fmt: skip
    wg.testing.check_grads(lambda x: wg.vmap(f)(x, ks), (xs,))
    program = wg.trace(f)(TABLE, np.int64(1))
    np.testing.assert_allclose(program.evaluate(xs[0], np.int64(2)), f(xs[0], 2), rtol=1e-14)


def test_a_plain_array_cannot_be_indexed_by_a_batch() -> None:
    """NumPy tells us neither of a[k] nor of np.take(a, k) where only k is traced."""
    ks = np.array([0, 1])
    for read in (lambda k: V[k], lambda k: np.take(V, k)):
        with pytest.raises(wg.errors.ConversionError, match="like="):
            wg.vmap(read)(ks)
    for read in (lambda k: np.asarray(V, like=k)[k], lambda k: np.take_along_axis(V, k[None], 0)[0]):
        np.testing.assert_array_equal(wg.vmap(read)(ks), V[:2])


TRACED_WRITES: dict[str, Callable[[Any, Any, Any], None]] = {
    "row": lambda y, x, k: y.__setitem__(k, x[0] ** 2),
    "column": lambda y, x, k: y.__setitem__((slice(None), k), x[:, 0] ** 2),
    "element": lambda y, x, k: y.__setitem__((k, k), x[0, 0] ** 2),
    "a constant": lambda y, x, k: y.__setitem__(k, 0.5),
    "twice the same place": lambda y, x, k: y.__setitem__((slice(None), np.stack([k, k])), x[:, :2] ** 2),
    "apart": lambda y, x, k: y.__setitem__((k, None, np.stack([k, 2 - k])), x[0, :2, None] ** 2),
    "in place": lambda y, x, k: y[1].__setitem__(k, x[0, 0] * y[1, k]),
    "add.at": lambda y, x, k: np.add.at(y, (slice(None), np.stack([k, k])), x[:, :2] ** 2),
    "mask": lambda y, x, k: y.__setitem__(y > k - 1.0, x[0, 0]),
    "mask of rows": lambda y, x, k: y.__setitem__(y[:, 0] > k - 1.0, x[0] ** 2),
    "mask of columns": lambda y, x, k: y.__setitem__((slice(None), y[0] > k - 1.0), x[0, 0] ** 2),
    "mask last": lambda y, x, k: y.__setitem__((..., y[0] > k - 1.0), 7.0),
}


@pytest.mark.parametrize("name", TRACED_WRITES)
def test_traced_index_of_a_write(name: str) -> None:
    def f(x: Any, k: Any) -> Any:
        y = x.copy()
        TRACED_WRITES[name](y, x, k)
        return y * x

    xs, ks = RNG.normal(size=(5, 3, 4)), np.array([0, 2, 1, 1, 2])
    np.testing.assert_allclose(wg.vmap(f)(xs, ks), by_loop(f, xs, ks), rtol=1e-14)
    same = wg.vjp(lambda x: wg.vmap(f, in_axes=(None, 0))(x, ks), TABLE)[0]  # (a plain table has no say in table[k])
    np.testing.assert_allclose(same, by_loop(lambda k: f(TABLE, k), ks), rtol=1e-14)
    wg.testing.check_grads(lambda x: wg.vmap(f)(x, ks), (xs,))
    loss = wg.grad(lambda x, k: np.sum(f(x, k) ** 2))
    np.testing.assert_allclose(wg.vmap(loss)(xs, ks), by_loop(loss, xs, ks), rtol=1e-13)
    program = wg.trace(f)(TABLE, np.int64(1))
    np.testing.assert_allclose(program.evaluate(xs[0], np.int64(2)), f(xs[0], 2), rtol=1e-14)


SELECTIONS: dict[str, Callable[[Any, Any], None]] = {
    "in place": lambda y, m: y.__setitem__(m, y[m] * 2.0),
    "formula": lambda y, m: y.__setitem__(m, 1.0 - np.exp(-y[m]) / 3 + y[m] * y[m]),
    "reflected": lambda y, m: y.__setitem__(m, y[0] * y[m] ** 2),
    "of another": lambda y, m: y.__setitem__(m, (2.0 * y)[m]),
    "out of the domain": lambda y, m: y.__setitem__(m, np.sqrt(y[m])),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_selection(name: str) -> None:
    """y[m] op …, assigned back through the same mask, although vmap and trace cannot know how many elements it has."""

    def f(x: Any) -> Any:
        y = x.copy()
        SELECTIONS[name](y, x > 0.0)
        return y

    xs = RNG.normal(size=(3, 5))
    np.testing.assert_array_equal(wg.vmap(f)(xs), by_loop(f, xs))
    loss = wg.grad(lambda x: np.sum(f(x) ** 2))
    np.testing.assert_allclose(wg.vmap(loss)(xs), by_loop(loss, xs), rtol=1e-13)
    np.testing.assert_array_equal(wg.trace(f)(xs[0]).evaluate(xs[1]), f(xs[1]))


@pytest.mark.parametrize(
    "use",
    [
        lambda x, m: np.sum(x[m]),
        lambda x, m: x[m][0],
        lambda x, m: len(x[m]),
        lambda x, m: x[m].sum(),
        lambda x, m: x[m] + x,
        lambda x, m: x.copy().__setitem__(m, x[~m]),
        lambda x, m: x.copy().__setitem__(m, x),
        lambda x, m: np.stack([x[m]]),
    ],
)
def test_selection_refuses_the_rest(use: Callable[[Any, Any], Any]) -> None:
    for transform in (wg.vmap(lambda x: use(x, x > 0)), wg.trace(lambda x: use(x[0], x[0] > 0))):
        with pytest.raises(wg.errors.WengertError):
            transform(np.stack([V, V]))


PLAIN_TARGETS: dict[str, Callable[[Any, Any], Any]] = {
    "put": lambda y, x: np.put(y, [0], x),
    "place": lambda y, x: np.place(y, y > 0, x),
    "putmask": lambda y, x: np.putmask(y, y > 0, x),
    "copyto": lambda y, x: np.copyto(y, x),
    "fill_diagonal": lambda y, x: np.fill_diagonal(y.reshape(5, 1), x[0]),
    "put_along_axis": lambda y, x: np.put_along_axis(y, np.array([0]), x[:1], 0),
    "take out": lambda y, x: np.take(x, [0, 1, 2, 3, 4], out=y),
    "add.at": lambda y, x: np.add.at(y, [0], x[0]),
    "setitem": lambda y, x: y.__setitem__(0, x[0]),
}


@pytest.mark.parametrize("name", PLAIN_TARGETS)
def test_traced_into_plain_is_refused(name: str) -> None:
    for transform in (wg.vjp, lambda f, x: wg.jvp(f, (x,), (x,)), lambda f, x: wg.vmap(f)(x[None])):
        with pytest.raises(wg.errors.ConversionError, match="like="):
            transform(lambda x: PLAIN_TARGETS[name](np.ones(5), x), V.copy())


def test_index_arrays_are_copied() -> None:
    index, mask = np.array([0, 1]), np.array([True, False, True, False, False])

    def f(x: Any) -> Any:
        y = x * 1.0
        y[index] = x[index] ** 2 * x[mask]
        return y

    want = wg.grad(lambda x: np.sum(f(x) ** 2))(V)
    _, pullback = wg.vjp(lambda x: np.sum(f(x) ** 2), V)
    index[:], mask[:] = 4, True
    np.testing.assert_array_equal(pullback(1.0)[0], want)
