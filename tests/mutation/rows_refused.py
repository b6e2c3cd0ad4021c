"""What NumPy permits and we must refuse: a traced value written into an array that cannot carry a derivative.

Python hands such a write to the plain array, so NumPy would store a bare number and the derivative would be gone. The
message names the way out: make the buffer with ``like=``, or of the value itself.
"""

from __future__ import annotations

import numpy as np

from .row import Rows

ROWS = Rows()
ONES = np.ones(4, dtype=bool)

# write(y, x): y is a plain array of shape (4,), x is traced.
WRITES = {
    "y[0] = x[0]": lambda y, x: y.__setitem__(0, x[0]),
    "y[1:] = x[1:]": lambda y, x: y.__setitem__(slice(1, None), x[1:]),
    "y[:] = x": lambda y, x: y.__setitem__(slice(None), x),
    "y[...] = x": lambda y, x: y.__setitem__(..., x),
    "y[[0, 2]] = x[:2]": lambda y, x: y.__setitem__([0, 2], x[:2]),
    "y[mask] = x": lambda y, x: y.__setitem__(ONES, x),
    "y[::-1][1:] = x[1:]": lambda y, x: y[::-1][1:].__setitem__(slice(None), x[1:]),
    "y[:] = [x[0], 1, 2, 3]": lambda y, x: y.__setitem__(slice(None), [x[0], 1.0, 2.0, 3.0]),
    "y[:2] = x[0], x[1]": lambda y, x: y.__setitem__(slice(2), (x[0], x[1])),
    "y[0] = x.sum()": lambda y, x: y.__setitem__(0, x.sum()),
    "y[0] += x[0]": lambda y, x: y.__setitem__(0, y[0] + x[0]),
    "y += x": lambda y, x: y.__iadd__(x),
    "y -= x": lambda y, x: y.__isub__(x),
    "y *= x": lambda y, x: y.__imul__(x),
    "y /= x": lambda y, x: y.__itruediv__(x),
    "y **= x": lambda y, x: y.__ipow__(x),
    "y //= x": lambda y, x: y.__ifloordiv__(x),
    "y %= x": lambda y, x: y.__imod__(x),
    "y[1:] += x[1:]": lambda y, x: y[1:].__iadd__(x[1:]),
    "y += x[0]": lambda y, x: y.__iadd__(x[0]),
    "np.add(1.0, x, out=y)": lambda y, x: np.add(1.0, x, out=y),
    "np.add(1.0, x, y)": lambda y, x: np.add(1.0, x, y),
    "np.sin(x, out=(y,))": lambda y, x: np.sin(x, out=(y,)),
    "np.sin(x, out=y, where=)": lambda y, x: np.sin(x, out=y, where=ONES),
    "np.divmod(x, 2, out=(y, y))": lambda y, x: np.divmod(x, 2.0, out=(y, y.copy())),
    "np.copyto": lambda y, x: np.copyto(y, x),
    "np.copyto where": lambda y, x: np.copyto(y, x, where=ONES),
    "np.copyto of a number": lambda y, x: np.copyto(y, x[0]),
    "np.put": lambda y, x: np.put(y, [0, 1], x[:2]),
    "y.put": lambda y, x: y.put([0, 1], x[:2]),
    "np.place": lambda y, x: np.place(y, ONES, x),
    "np.putmask": lambda y, x: np.putmask(y, ONES, x),
    "np.put_along_axis": lambda y, x: np.put_along_axis(y, np.array([0, 1]), x[:2], 0),
    "np.fill_diagonal": lambda y, x: np.fill_diagonal(y.reshape(2, 2), x[0]),
    "np.fill_diagonal of an array": lambda y, x: np.fill_diagonal(y.reshape(2, 2), x),
    "y.fill": lambda y, x: y.fill(x[0]),
    "y.flat[0] =": lambda y, x: y.flat.__setitem__(0, x[0]),
    "y.flat = x": lambda y, x: setattr(y, "flat", x),
    "y.real = x": lambda y, x: setattr(y, "real", x),
    "y.setfield": lambda y, x: y.setfield(x[0], np.float64),
    "np.add.at": lambda y, x: np.add.at(y, [0, 0, 1], x[:3]),
    "np.multiply.at": lambda y, x: np.multiply.at(y, [0], x[0]),
    "np.sum(out=)": lambda y, x: np.sum(x, out=y[0, ...]),
    "x.sum(out=)": lambda y, x: x.sum(out=y[0, ...]),
    "np.mean(out=)": lambda y, x: np.mean(x, out=y[0, ...]),
    "np.add.reduce(out=)": lambda y, x: np.add.reduce(x, out=y[0, ...]),
    "np.add.accumulate(out=)": lambda y, x: np.add.accumulate(x, out=y),
    "np.cumsum(out=)": lambda y, x: np.cumsum(x, out=y),
    "np.dot(out=)": lambda y, x: np.dot(x, 2.0, out=y),
    "np.matmul(out=)": lambda y, x: np.matmul(np.eye(4), x, out=y),
    "np.einsum(out=)": lambda y, x: np.einsum("i,i->i", x, x, out=y),
    "np.concatenate(out=)": lambda y, x: np.concatenate([x[:2], x[2:]], out=y),
    "np.stack(out=)": lambda y, x: np.stack([x[0], x[1], x[2], x[3]], out=y),
    "np.take(out=)": lambda y, x: np.take(x, [0, 1, 2, 3], out=y),
    "np.clip(out=)": lambda y, x: np.clip(x, 1.0, 2.0, out=y),
    "np.round(out=)": lambda y, x: np.round(x, 1, out=y),
    "np.compress(out=)": lambda y, x: np.compress(ONES, x, out=y),
    "np.choose(out=)": lambda y, x: np.choose([0, 0, 0, 0], [x], out=y),
    "np.outer(out=)": lambda y, x: np.outer(x, x, out=np.zeros((4, 4))),
}


def _refused(write):
    def program(x):
        y = np.ones(4)
        write(y, x)
        return y

    return program


for name, write in WRITES.items():
    # Of flat[0] = a NumPy replaces our error by its own ValueError, without naming ours as the cause.
    also = (ValueError,) if name == "y.flat[0] =" else ()
    ROWS.add(f"plain {name}", _refused(write), ("1d",), "refused", error=TypeError, says="like=", also=also)


@ROWS.refused(TypeError, "like=", "float", "scalar", "0d")
def a_number_into_a_plain_array(x):
    y = np.zeros(3)
    y[0] = x
    return y


@ROWS.refused(TypeError, "like=", "scalar", "0d")
def a_number_added_to_a_plain_array(x):
    y = np.zeros(3)
    y += x
    return y


@ROWS.refused(TypeError, "like=", "1d")
def full_without_like(x):
    return np.full(4, x)  # must never hand out uninitialised memory


@ROWS.refused(TypeError, "like=", "1d")
def full_of_a_number_without_like(x):
    return np.full((2, 2), x[0])


@ROWS.refused(TypeError, "like=", "1d")
def full_like_of_a_plain_array(x):
    return np.full_like(np.zeros(4), x)


@ROWS.refused(TypeError, "like=", "complex")
def a_complex_value_into_a_plain_array(x):
    y = np.zeros(4, dtype=complex)
    y[1:] = x[1:]
    return y


@ROWS.refused(TypeError, "like=", "2d")
def a_row_into_a_plain_matrix(x):
    y = np.zeros((2, 3))
    for i, row in enumerate(x):
        y[i] = row * 2.0
    return y


@ROWS.refused(TypeError, "like=", "square")
def a_plain_matrix_imatmul(x):
    y = np.eye(3)
    y @= x
    return y


@ROWS.refused(TypeError, "like=", "1d")
def a_view_of_a_plain_array(x):
    y = np.zeros((2, 4))
    v = y.T[:, 1]
    v += x
    return y


@ROWS.refused(TypeError, "", "1d")
def a_traced_index_array_becomes_an_array(x):
    y = np.zeros(4)
    y[:] = np.asarray(x)
    return y


@ROWS.refused(TypeError, "np.stack", "1d")
def np_array_of_traced_numbers(x):
    return np.array([x[0], x[1]])


@ROWS.careful("1d")
def vectorised_over_a_traced_array(x):
    return np.vectorize(lambda e: e * e)(x)


@ROWS.careful("1d")
def fromiter(x):
    return np.fromiter((e * e for e in x), dtype=float)


@ROWS.careful("1d")
def float_into_a_plain_array(x):
    y = np.zeros(4)
    y[0] = float(x[0])
    return y * x


@ROWS.careful("1d")
def integer_valued_results_may_be_written_to_plain_arrays(x):
    y = np.zeros(4)
    y[np.argmax(x)] = 3.0
    y[0] = 1.5
    y += np.ones(4)
    return y * x


@ROWS.works("1d", second=True)
def a_plain_buffer_of_constants(x):
    c = np.zeros(4)
    c[0] = 2.0
    c += np.arange(4.0)
    c[1:] *= 3.0
    y = x * c
    c[:] = 50.0
    return y, x + c


@ROWS.works("1d", second=True)
def plain_on_the_left_makes_a_new_array(x):
    c = np.arange(1.0, 5.0)
    y = c + x
    y[0] = x[1]
    z = c * x
    z += c
    return y, z
