"""Views: a write through a basic view reaches the base and every other view; some views may not be written."""

from __future__ import annotations

import numpy as np

from .row import Rows

ROWS = Rows()

# One entry per way to make a view that NumPy lets us write through, whatever the memory order is.
BASIC = {
    "y[...]": ("1d", lambda y: y[...]),
    "y[:]": ("1d", lambda y: y[:]),
    "y[1:]": ("1d", lambda y: y[1:]),
    "y[::-1]": ("1d", lambda y: y[::-1]),
    "y[::2]": ("1d", lambda y: y[::2]),
    "y[None]": ("1d", lambda y: y[None]),
    "y[1, ...]": ("1d", lambda y: y[1, ...]),
    "y[2:2]": ("1d", lambda y: y[2:2]),
    "y[0]": ("2d", lambda y: y[0]),
    "y[:, 1]": ("2d", lambda y: y[:, 1]),
    "y[..., ::-1]": ("2d", lambda y: y[..., ::-1]),
    "y[::-1][1:][:, 1:]": ("2d", lambda y: y[::-1][1:][:, 1:]),
    "y[:, None, ::2]": ("2d", lambda y: y[:, None, ::2]),
    "y.T": ("2d", lambda y: y.T),
    "y.T of a vector": ("1d", lambda y: y.T),
    "y.mT": ("2d", lambda y: y.mT),
    "y.T[1:].T": ("2d", lambda y: y.T[1:].T),
    "y.transpose": ("3d", lambda y: y.transpose(1, 2, 0)),
    "np.transpose": ("3d", lambda y: np.transpose(y, (2, 0, 1))),
    "np.permute_dims": ("3d", lambda y: np.permute_dims(y, (2, 0, 1))),
    "np.matrix_transpose": ("3d", lambda y: np.matrix_transpose(y)),
    "np.linalg.matrix_transpose": ("3d", lambda y: np.linalg.matrix_transpose(y)),
    "y.swapaxes": ("3d", lambda y: y.swapaxes(0, 1)),
    "np.swapaxes": ("3d", lambda y: np.swapaxes(y, -1, 0)),
    "np.moveaxis": ("3d", lambda y: np.moveaxis(y, 0, -1)),
    "np.rollaxis": ("3d", lambda y: np.rollaxis(y, 2)),
    "y.squeeze": ("3d", lambda y: y.squeeze()),
    "np.squeeze": ("3d", lambda y: np.squeeze(y, axis=2)),
    "y.squeeze of nothing": ("1d", lambda y: y.squeeze()),
    "np.expand_dims": ("2d", lambda y: np.expand_dims(y, (0, -1))),
    "np.atleast_1d": ("1d", lambda y: np.atleast_1d(y)),
    "np.atleast_2d": ("1d", lambda y: np.atleast_2d(y)),
    "np.atleast_3d": ("2d", lambda y: np.atleast_3d(y)),
    "np.flip": ("2d", lambda y: np.flip(y)),
    "np.flip axis": ("2d", lambda y: np.flip(y, axis=1)),
    "np.flipud": ("2d", lambda y: np.flipud(y)),
    "np.fliplr": ("2d", lambda y: np.fliplr(y)),
    "np.rot90": ("2d", lambda y: np.rot90(y)),
    "np.rot90 by none": ("2d", lambda y: np.rot90(y, 0)),
    "np.split": ("1d", lambda y: np.split(y, 2)[1]),
    "np.split at": ("1d", lambda y: np.split(y, [1, 3])[1]),
    "np.array_split": ("1d", lambda y: np.array_split(y, 3)[0]),
    "np.hsplit": ("2d", lambda y: np.hsplit(y, 3)[2]),
    "np.vsplit": ("2d", lambda y: np.vsplit(y, 2)[1]),
    "np.dsplit": ("3d", lambda y: np.dsplit(y, 1)[0]),
    "np.unstack": ("2d", lambda y: np.unstack(y, axis=1)[1]),
    "unpacking": ("2d", lambda y: (lambda first, second: second)(*y)),
    "next(iter(y))": ("2d", lambda y: next(iter(y))),
    "list(y)": ("2d", lambda y: list(y)[1]),
    "list(y.T)": ("2d", lambda y: list(y.T)[1]),
    "y.real": ("complex", lambda y: y.real),
    "y.imag": ("complex", lambda y: y.imag),
    "y.imag[1:][::-1]": ("complex", lambda y: y.imag[1:][::-1]),
    "np.real": ("complex", lambda y: np.real(y)),
    "np.imag": ("complex", lambda y: np.imag(y)),
    "y[1:].real": ("complex", lambda y: y[1:].real),
    "y.real of a real array": ("1d", lambda y: y.real),
    "np.real of a real array": ("1d", lambda y: np.real(y)),
    "y.conj() of a real array": ("1d", lambda y: y.conj()),  # the method returns the array itself, np.conj a copy
    "y.conjugate() of a real array": ("1d", lambda y: y.conjugate()),
    "y.view()": ("1d", lambda y: y.view()),
    "astype(copy=False)": ("1d", lambda y: y.astype(float, copy=False)),
    "np.astype(copy=False)": ("1d", lambda y: np.astype(y, np.float64, copy=False)),
    "asarray(like)": ("1d", lambda y: np.asarray(y, like=y)),
    "asanyarray(like)": ("1d", lambda y: np.asanyarray(y, like=y)),
    "array(copy=False, like)": ("1d", lambda y: np.array(y, copy=False, like=y)),
    "array(copy=None, like)": ("1d", lambda y: np.array(y, copy=None, like=y)),
    "y[()] of a 0-d array": ("0d", lambda y: y[...]),
    "y[None] of a 0-d array": ("0d", lambda y: y[None]),
    "np.atleast_1d of a 0-d array": ("0d", lambda y: np.atleast_1d(y)),
    "y.T of a 0-d array": ("0d", lambda y: y.T),
}


def _buffer(x):
    """Something that owns its data and is a 0-d array where x is one: 2.0 * x would be a scalar."""
    y = x.copy()
    y *= 2.0
    return y


def _write_the_view(view):
    def program(x):
        y = _buffer(x)
        v = view(y)
        before = v * 1.0
        other = view(y)
        v[...] = before * before + 0.5
        after = other * 1.0
        v *= 1.5
        return y, v, before, after, other * 1.0

    return program


def _write_the_base(view):
    def program(x):
        y = _buffer(x)
        v = view(y)
        before = np.sin(v)
        y[...] = x * x
        after = np.sin(v)
        y *= x
        return v, before, after

    return program


def _write_a_view_of_the_view(view):
    def program(x):
        y = _buffer(x)
        v = view(y)[...]
        w = v[None]
        w += x.ravel()[0] if x.dtype == float else x.real[0]
        w[0, ...] = v * 2.0
        return y, v

    return program


for name, (an_input, view) in BASIC.items():
    ROWS.add(f"write {name}", _write_the_view(view), (an_input,), "works", second=True)
    ROWS.add(f"write under {name}", _write_the_base(view), (an_input,), "works")
    ROWS.add(f"write view of {name}", _write_a_view_of_the_view(view), (an_input,), "works")
    if an_input == "2d":
        ROWS.add(f"write {name} of fortran order", _write_the_view(view), ("fortran",), "works")

# NumPy writes through these if the memory order allows it; we have no memory order to ask, so we refuse.
RESHAPES = {
    "y.reshape(-1)": ("2d", lambda y: y.reshape(-1)),
    "y.reshape(3, 2)": ("2d", lambda y: y.reshape(3, 2)),
    "y.reshape of a vector": ("1d", lambda y: y.reshape((2, 2))),
    "np.reshape": ("2d", lambda y: np.reshape(y, (3, 2))),
    "y.ravel()": ("2d", lambda y: y.ravel()),
    "np.ravel": ("2d", lambda y: np.ravel(y)),
    "y.ravel() of a vector": ("1d", lambda y: y.ravel()),
    "view of a reshape": ("2d", lambda y: y.reshape(-1)[1:][::2]),
    "reshape of a view": ("2d", lambda y: y[1:].reshape(-1)),
    "transpose of a reshape": ("2d", lambda y: y.reshape(3, 2).T),
    "row of a reshape": ("1d", lambda y: y.reshape(2, 2)[1]),
}


def _write_element(view):
    def program(x):
        y = _buffer(x)
        v = view(y)
        v[(0,) * v.ndim] = x.ravel()[0] ** 2
        return y

    return program


def _write_constant_element(view):
    def program(x):
        y = _buffer(x)
        view(y)[(0,) * view(y).ndim] = 5.0
        return y

    return program


def _write_in_place(view):
    def program(x):
        y = _buffer(x)
        v = view(y)
        v *= 2.0
        return y, v

    return program


def _write_by_out(view):
    def program(x):
        y = _buffer(x)
        v = view(y)
        np.sin(v, out=v)
        return y

    return program


for name, (an_input, view) in RESHAPES.items():
    for write in (_write_element, _write_constant_element, _write_in_place, _write_by_out):
        ROWS.add(f"{write.__name__[1:]} through {name}", write(view), (an_input,), "refused", error=ValueError,
                 says="copy()")  # fmt: skip
    ROWS.add(f"write under {name}", _write_the_base(view), (an_input,), "works", second=True)

# Here NumPy itself made a copy, so that the write has no effect on y. To refuse is allowed, to write through is wrong.
for name, (an_input, view) in {
    "y.T.reshape(-1)": ("2d", lambda y: y.T.reshape(-1)),
    "y.T.ravel()": ("2d", lambda y: y.T.ravel()),
    "y[:, :2].reshape(-1)": ("2d", lambda y: y[:, :2].reshape(-1)),
    "y.reshape(order=F)": ("2d", lambda y: y.reshape(-1, order="F")),
    "y[::-1].reshape": ("1d", lambda y: y[::-1].reshape(2, 2)),
    "y.reshape(copy=True)": ("2d", lambda y: np.reshape(y, -1, copy=True)),
}.items():
    ROWS.add(f"write copy {name}", _write_in_place(view), (an_input,), "careful")

READ_ONLY = {
    "np.broadcast_to": ("1d", lambda y: np.broadcast_to(y, (3, 4))),
    "np.diagonal": ("square", lambda y: np.diagonal(y)),
    "y.diagonal()": ("square", lambda y: y.diagonal(1)),
    "np.diag": ("square", lambda y: np.diag(y)),
    "np.linalg.diagonal": ("square", lambda y: np.linalg.diagonal(y)),
    "view of diagonal": ("square", lambda y: y.diagonal()[1:]),
    "imag of a real array": ("1d", lambda y: y.imag),
}
for name, (an_input, view) in READ_ONLY.items():
    ROWS.add(f"write element of {name}", _write_element(view), (an_input,), "raises", error=ValueError,
             says="assignment destination is read-only")  # fmt: skip
    ROWS.add(f"write {name} in place", _write_in_place(view), (an_input,), "raises", error=ValueError,
             says="output array is read-only")  # fmt: skip
    ROWS.add(f"write under {name}", _write_the_base(view), (an_input,), "works")

BY_PROTOCOL = ("y.to_device", "memoryview", "np.from_dlpack")
# Views that come from functions which we are free to compute afresh. A silent copy would be wrong.
for name, (an_input, view) in {
    "einsum('ii->i')": ("square", lambda y: np.einsum("ii->i", y)),
    "einsum('ij->ji')": ("2d", lambda y: np.einsum("ij->ji", y)),
    "np.trim_zeros": ("1d", lambda y: np.trim_zeros(y)),
    "np.real_if_close": ("1d", lambda y: np.real_if_close(y)),
    "np.broadcast_arrays of one": ("1d", lambda y: np.broadcast_arrays(y)[0]),
    "np.ascontiguousarray(like)": ("1d", lambda y: np.ascontiguousarray(y, like=y)),
    "np.asfortranarray(like)": ("1d", lambda y: np.asfortranarray(y, like=y)),
    "np.require(like)": ("1d", lambda y: np.require(y, like=y)),
    "y.view(dtype)": ("1d", lambda y: y.view(np.float64)),
    "y.view(complex)": ("1d", lambda y: y.view(np.complex128)),
    "np.nan_to_num(copy=False)": ("1d", lambda y: np.nan_to_num(y, copy=False)),
    "y.flat": ("1d", lambda y: np.asarray(y.flat, like=y)),
    "y.getfield": ("1d", lambda y: y.getfield(np.float64)),
    "y.to_device": ("1d", lambda y: y.to_device("cpu")),
    "as_strided": ("1d", lambda y: np.lib.stride_tricks.as_strided(y, (2,), (16,))),
    "memoryview": ("1d", lambda y: np.asarray(memoryview(y))),
    "y.__array__()": ("1d", lambda y: y.__array__()),
    "np.from_dlpack": ("1d", lambda y: np.from_dlpack(y)),
    "np.asarray": ("1d", lambda y: np.asarray(y)),
    "np.block": ("1d", lambda y: np.block(y)),
}.items():
    # The last few ask for the buffer itself, which Python may refuse before we are asked.
    also = (TypeError, AttributeError, BufferError) if name in BY_PROTOCOL else ()
    ROWS.add(f"write {name}", _write_in_place(view), (an_input,), "careful", also=also)
    ROWS.add(f"write under {name}", _write_the_base(view), (an_input,), "careful", also=also)
ROWS.add("write under sliding_window_view", _write_the_base(lambda y: np.lib.stride_tricks.sliding_window_view(y, 2)),
         ("1d",), "careful")  # fmt: skip


@ROWS.works("2d", second=True)
def rows_by_iteration(x):
    y = x * x
    for row in y:
        row += 1
        row[0] *= row[1]
    return y


@ROWS.works("2d")
def rows_by_enumeration_and_zip(x):
    y = x * x
    for i, (row, given) in enumerate(zip(y, x, strict=True)):
        row[i:] = given[i:] * i
    return y


@ROWS.works("3d")
def rows_of_rows(x):
    y = x * x
    for plane in y:
        for row in plane:
            row *= plane[0]
    return y


@ROWS.works("1d")
def elements_by_iteration_are_copies(x):
    y = x * x
    for e in y:
        e += 100.0
    return y


@ROWS.works("2d", second=True)
def siblings_see_each_other(x):
    y = x * x
    row, column, corner = y[0], y[:, 0], y[0, 0, ...]
    row += x[1]
    corner *= 2.0
    column[...] = column[::-1]
    return row, column, corner, y


@ROWS.works("1d")
def a_view_outlives_the_name_of_its_base(x):
    y = x * x
    v = y[1:]
    y = v
    y[0] = x[0]
    del v
    return y


@ROWS.works("1d")
def a_copy_of_a_view_is_its_own(x):
    y = x * x
    c = y[1:].copy()
    y[1] = 100.0
    c[1] = 50.0
    return y, c


@ROWS.works("1d")
def a_view_of_the_argument_writes_the_argument(x):
    v = x[1:]
    v *= x[:-1]
    return x, v


@ROWS.works("2d")
def a_view_handed_to_a_function(x):
    def double(part):
        part *= 2.0
        return part

    y = x * x
    kept = double(y[0])
    double(double(y[:, 1:])[1:])
    return y, kept


@ROWS.works("2d")
def assignment_to_attribute_views(x):
    y = x * x
    y.T[...] = x.T * 2.0
    y.T[1] += 1.0
    y[:, 1:].T[0][0] = x[1, 1]
    return y


@ROWS.works("complex")
def assignment_to_the_parts(x):
    y = x * x
    y.real = x.imag * 2.0
    y.imag[1:] = x.real[:3]
    y.real[0] += 4.0
    y.real += x.real
    return y, y.real


@ROWS.works("1d")
def assignment_to_the_real_part_of_a_real_array(x):
    y = x * x
    y.real = x[::-1]
    y.real[0] = x[1] * x[2]
    return y


@ROWS.works("1d")
def a_stale_reshape_of_a_stale_view(x):
    y = x * x
    v = y[::-1].reshape(2, 2)  # NumPy copies here: not a view of y
    r = y.reshape(2, 2)[::-1].T
    y[0] = x[1] * x[3]
    return v, r


@ROWS.works("2d")
def zero_size_views(x):
    y = x * x
    v = y[:, 3:]
    v += 5.0
    y[:0] = 7.0
    y[2:] *= 3.0
    return y, v


@ROWS.raises(AttributeError, "not writable", "2d", same_message=False)
def assignment_to_t(x):
    y = x.copy()
    y.T = x
    return y


@ROWS.raises(ValueError, "read-only", "1d")
def write_a_sliding_window(x):
    y = x.copy()
    v = np.lib.stride_tricks.sliding_window_view(y, 2)
    v[0, 0] = 1.0
    return y


@ROWS.raises(ValueError, "read-only", "1d")
def write_a_view_of_a_broadcast(x):
    y = x.copy()
    v = np.broadcast_to(y, (2, 4))[0]
    v[1] = x[0]
    return y
