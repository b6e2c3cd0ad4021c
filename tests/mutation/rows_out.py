"""``out=`` (with ``where=``), ``copyto`` and its like, and ``ufunc.at``, among traced arrays."""

from __future__ import annotations

import numpy as np

from .row import Rows

ROWS = Rows()
MASK = np.array([True, False, True, True])

UNARY = (np.sin, np.exp, np.sqrt, np.negative, np.square, np.reciprocal, np.floor, np.abs, np.log1p, np.conjugate)
BINARY = (np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum, np.arctan2, np.floor_divide, np.hypot)


def _unary(ufunc):
    def program(x):
        y = 3.0 * x
        alias, v = y, y[1:]
        result = ufunc(x, out=y)
        result *= 2.0  # the result is the buffer
        return alias, v * x[1:]

    return program


def _unary_in_place(ufunc):
    def program(x):
        y = 0.5 * x
        ufunc(y[::-1], out=y)  # overlapping: NumPy behaves as if it had copied
        ufunc(y, y, where=MASK)
        return y

    return program


def _binary(ufunc):
    def program(x):
        y = 3.0 * x
        v = y[:2]
        w = 0.4 * x + 0.93
        ufunc(x, w, out=y)
        ufunc(v, w[:2], out=v)
        ufunc(1.3, w[2], out=y[3, ...])
        return y, v

    return program


def _binary_where(ufunc):
    def program(x):
        y = 3.0 * x
        w = 0.4 * x + 0.93
        ufunc(x, w, out=y, where=MASK)
        z = y * 1.0
        ufunc(y[:-1], w[1:], out=y[1:], where=[True, False, True])
        ufunc(y, 1.3, out=(y,), where=False)
        return y, z

    return program


for ufunc in UNARY:
    ROWS.add(f"{ufunc.__name__} out", _unary(ufunc), (), "works", second=ufunc in (np.sin, np.exp))
    ROWS.add(f"{ufunc.__name__} in place", _unary_in_place(ufunc), (), "works")
for ufunc in BINARY:
    ROWS.add(f"{ufunc.__name__} out", _binary(ufunc), (), "works", second=ufunc is np.multiply)
    ROWS.add(f"{ufunc.__name__} out where", _binary_where(ufunc), (), "works", second=ufunc is np.power)


@ROWS.works("1d")
def out_by_position(x):
    y = 3.0 * x
    np.sin(x, y)
    np.multiply(y, x, y)
    return y


@ROWS.works("1d")
def out_is_the_argument(x):
    np.multiply(x, x, out=x)
    return x * 2.0


@ROWS.works("0d")
def out_is_a_0d_argument(x):
    b = x
    np.multiply(x, x, out=x)
    return b * 2.0


@ROWS.works("1d", second=True)
def out_where_the_mask_is_traced(x):
    y = x * x
    np.sqrt(x, out=y, where=x > 1.0)
    return y


@ROWS.works("1d")
def out_into_a_fresh_buffer(x):
    y = np.empty_like(x)
    np.add(x, 1.0, out=y)
    z = np.zeros((2, 4), like=x)
    np.multiply(x, 2.0, out=z)  # broadcast into a larger out
    np.subtract(x, y, out=z[1])
    return y, z


@ROWS.works("2d")
def out_is_a_transpose(x):
    y = np.zeros((3, 2), like=x)
    np.multiply(x, x, out=y.T)
    return y


@ROWS.works("1d")
def two_outs(x):
    q, r = np.zeros_like(x), np.zeros_like(x)
    np.divmod(x, 0.37, out=(q, r))
    f, i = np.zeros_like(x), np.zeros_like(x)
    np.modf(x, out=(f, i))
    return q, r, f, i


@ROWS.works("1d")
def one_out_of_two(x):
    r = np.zeros_like(x)
    q, same = np.divmod(x, 0.37, out=(None, r))
    same += 1.0
    return q, r


@ROWS.works("square", second=True)
def matmul_out(x):
    y = np.zeros_like(x)
    np.matmul(x, x, out=y)
    v = y[0]
    np.matmul(y, x, out=y)
    return y, v


@ROWS.works("1d", "2d")
def reductions_into_out(x):
    y = np.zeros(6, like=x)
    np.sum(x, out=y[0, ...])
    x.prod(out=y[1, ...])
    np.mean(x, out=y[2, ...])
    x.max(out=y[3, ...])
    np.add.reduce(x, axis=None, out=y[4, ...])
    np.std(x, out=y[5, ...])
    return y


@ROWS.works("square")
def reductions_along_an_axis_into_out(x):
    y = np.zeros((4, 3), like=x)
    np.sum(x, axis=0, out=y[0])
    np.multiply.reduce(x, axis=1, out=y[1])
    x.mean(axis=0, out=y[2])
    np.var(x, axis=1, out=y[3])
    z = x.copy()
    np.add.reduce(z, axis=0, out=z[0])  # overlaps what it reads
    return y, z


@ROWS.works("1d")
def cumulative_into_out(x):
    y, z = np.zeros_like(x), np.zeros_like(x)
    np.cumsum(x, out=y)
    x.cumprod(out=z)
    np.add.accumulate(y, out=y)
    return y, z


@ROWS.works("1d")
def clip_into_out(x):
    y = np.zeros_like(x)
    np.clip(x, 1.0, 2.0, out=y)
    x.clip(1.5, out=y[:])
    np.clip(y, None, 1.8, out=y)
    return y


@ROWS.works("1d")
def products_into_out(x):
    y = np.zeros_like(x)
    np.einsum("i,i->i", x, x, out=y)
    m = np.zeros((4, 4), like=x)
    np.outer(x, y, out=m)
    s = np.zeros((), like=x)
    np.dot(x, y, out=s)
    z = np.zeros_like(x)
    np.dot(m, x, out=z)
    return y, m, s, z


@ROWS.works("1d")
def movements_into_out(x):
    y, m, t = np.zeros_like(x), np.zeros((2, 4), like=x), np.zeros(2, like=x)
    np.take(x, [3, 2, 1, 0], out=y)
    np.concatenate([x[2:], y[2:]], out=m[0])
    np.stack([x, y], out=m[:, ::-1])
    np.compress([True, False, False, True], x, out=t)
    return y, m, t


@ROWS.careful("1d")
def rarer_outs(x):
    y = np.zeros_like(x)
    np.choose([0, 1, 0, 1], [x, 2.0 * x], out=y)
    z = np.zeros_like(x)
    np.round(x, 1, out=z)
    p = np.zeros((), like=x)
    np.quantile(x, 0.3, out=p)
    return y, z, p


@ROWS.works("1d")
def copyto(x):
    y = 3.0 * x
    v = y[1:]
    np.copyto(y, x * x)
    np.copyto(v, x[0])
    np.copyto(y[:2], [5.0, 6.0], where=[True, False])
    np.copyto(y, x, where=MASK)
    return y, v


@ROWS.works("1d")
def copyto_where_the_mask_is_traced(x):
    y = 3.0 * x
    np.copyto(y, x * x, where=x > 1.0)
    return y


@ROWS.works("1d", "2d")
def put(x):
    y = 3.0 * x
    v = y[:1]
    np.put(y, [0, -1], [x[(0,) * x.ndim] ** 2, 4.0])
    y.put([1, 2], x)  # a value that is too long is cut
    np.put(y, 9, 2.0, mode="wrap")
    np.put(y, [2, 3], x[(1,) * x.ndim], mode="clip")
    return y, v


@ROWS.works("1d")
def place_and_putmask(x):
    y = 3.0 * x
    np.place(y, MASK, [x[0], x[1] * x[1]])  # repeats
    z = 3.0 * x
    np.putmask(z, MASK, x * x)
    w = 3.0 * x
    np.putmask(w, MASK, x[:2])  # repeats by position
    return y, z, w


@ROWS.works("2d", "square", second=True)
def fill_diagonal(x):
    y = x * x
    np.fill_diagonal(y, x[0, 0] * x[1, 1])
    z = x * x
    np.fill_diagonal(z, x[0, :2])
    return y, z


@ROWS.works("2d", second=True)
def put_along_axis(x):
    y = x * x
    np.put_along_axis(y, np.array([[2], [0]]), x[:, :1] * x[0, 0], axis=1)
    return y


@ROWS.works("1d", second=True)
def add_at(x):
    y = x * x
    np.add.at(y, [0, 0, 1], x[1:] * x[0])
    np.subtract.at(y, 2, x[2] ** 2)
    np.add.at(y, slice(1, 3), 1.5)
    np.add.at(y, MASK, x[0])
    return y


@ROWS.works("2d")
def add_at_of_a_matrix(x):
    y = x * x
    v = y[1]
    np.add.at(y, ([0, 0, 1], [1, 1, 2]), x[0])
    np.add.at(y, [1, 1], x[1])
    np.add.at(v, [0], x[0, 2])
    return y, v


@ROWS.careful("1d")
def rarer_ats(x):
    y = x * x
    np.multiply.at(y, [0, 0, 1], x[1:])
    np.negative.at(y, [3])
    np.maximum.at(y, [2], 9.0)
    np.power.at(y, [0, 0], 1.3)
    return y


@ROWS.careful("1d")
def reduceat_and_outer_into_out(x):
    y, m = np.zeros(2, like=x), np.zeros((4, 4), like=x)
    np.add.reduceat(x, [0, 2], out=y)
    np.multiply.outer(x, x, out=m)
    return y, m


@ROWS.works("1d")
def an_out_of_none(x):
    return np.add(x, 1.0, out=None), np.sum(x, out=None), np.add(x, x, out=(None,))


@ROWS.raises(ValueError, "could not be broadcast together", "1d")
def out_that_is_too_short(x):
    y = np.zeros(3, like=x)
    np.add(x, x, out=y)
    return y


@ROWS.raises(ValueError, "non-broadcastable output operand", "1d")
def out_that_would_have_to_grow(x):
    y = np.zeros_like(x)
    np.add(x, np.ones((4, 1)), out=y)
    return y


@ROWS.raises(TypeError, "return arrays must be of ArrayType", "1d")
def out_that_is_a_list(x):
    y = [0.0] * 4
    np.add(x, x, out=y)
    return y


@ROWS.raises(TypeError, "must be of ArrayType", "scalar", "float")
def out_that_is_a_scalar(x):
    np.add(x, 1.0, out=x)
    return x


@ROWS.raises(TypeError, "positional arguments", "1d")
def too_many_positional_arguments(x):
    y = x.copy()
    np.add(x, x, y, y, y)
    return y


@ROWS.raises(TypeError, "out", "1d")
def out_given_twice(x):
    y = x.copy()
    np.add(x, x, y, out=y)
    return y


@ROWS.raises(ValueError, "wrong number of dimensions", "1d")
def reduction_into_the_wrong_shape(x):
    y = np.zeros(1, like=x)
    np.add.reduce(x, out=y)
    return y


@ROWS.raises(IndexError, "index 9 is out of bounds", "1d")
def put_out_of_range(x):
    y = x.copy()
    np.put(y, [0, 9], 1.0)
    return y


@ROWS.raises(IndexError, "index 9 is out of bounds", "1d")
def add_at_out_of_range(x):
    y = x.copy()
    np.add.at(y, [9], 1.0)
    return y


@ROWS.raises(ValueError, "array must be at least 2-d", "1d")
def fill_diagonal_of_a_vector(x):
    y = x.copy()
    np.fill_diagonal(y, 1.0)
    return y


@ROWS.raises(ValueError, "could not broadcast input array from shape (4,) into shape (2,)", "1d")
def copyto_of_the_wrong_shape(x):
    y = np.zeros(2, like=x)
    np.copyto(y, x)
    return y
