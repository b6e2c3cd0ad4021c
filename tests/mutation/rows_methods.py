"""Methods and attributes of an array that write into it."""

from __future__ import annotations

import numpy as np

from .row import Rows

ROWS = Rows()


@ROWS.works("1d", "strided", "f32", second=True)
def sort(x):
    y = x * x
    v = y[1:]
    before = v * 1.0
    assert y.sort() is None
    return y, v, before


@ROWS.works("2d", "fortran", second=True)
def sort_along_an_axis(x):
    y = x * x
    y.sort(axis=0)
    z = x * 2.0
    z.sort(axis=-1, kind="stable")
    w = x.copy()
    w[0].sort()  # a view
    w.T[1].sort()
    return y, z, w


@ROWS.works("1d")
def sort_of_a_reversed_view_sorts_downwards(x):
    y = x * x
    y[::-1].sort()
    return y


@ROWS.works("1d", "2d")
def partition(x):
    y = x * x
    y.partition(1)
    return y


@ROWS.works("1d", second=True)
def fill(x):
    y = x * x
    v = y[2:]
    y.fill(x[0] * x[1])
    v.fill(2.0)
    return y, v


@ROWS.works("0d")
def fill_of_a_0d_array(x):
    y = x.copy()
    y.fill(x * x)
    return y


@ROWS.works("1d", "2d")
def flat_assignment(x):
    y = x * x
    y.flat[2] = x.flat[0] * 3.0
    y.flat[0:2] = x.flat[1:3]
    y.flat[[3, 1]] = 7.0
    return y


@ROWS.works("1d", "2d")
def flat_assignment_of_all(x):
    y, z, w = x * x, x * x, x * x
    y.flat[...] = 2.5
    z.flat = x[::-1]
    w.flat = x.flat[0]
    return y * x, z, w


@ROWS.works("2d")
def flat_of_a_transpose_is_in_index_order(x):
    y = x * x
    y.T.flat[1] = x[0, 2] * 5.0
    y[:, ::-1].flat[:2] = x[1, :2]
    return y


@ROWS.works("1d")
def dunder_setitem(x):
    y = x * x
    y.__setitem__(0, x[1])
    y.__iadd__(x)
    y[1:].__imul__(2.0)
    return y


@ROWS.works("1d")
def reading_methods_leave_the_array(x):
    y = x * x
    y.cumsum(), y.clip(0, 1), y.round(1), y.repeat(2), y.take([0]), y.argsort()
    return y


@ROWS.careful("1d")
def setfield(x):
    y = x * x
    y.setfield(x[0], np.float64)
    return y


@ROWS.careful("1d")
def setting_the_shape(x):
    y = x * x
    kept = y
    y.shape = (2, 2)
    return y, kept


@ROWS.careful("1d")
def setting_the_dtype(x):
    y = x * x
    y.dtype = np.float64
    return y


@ROWS.careful("1d")
def resize(x):
    y = x * x
    y.resize((2, 2))
    return y


@ROWS.careful("1d")
def resize_to_more(x):
    y = x * x
    kept = y
    y.resize(6, refcheck=False)
    kept[4] = x[0]
    return y


@ROWS.careful("1d")
def byteswap_in_place(x):
    y = x * x
    y.byteswap(inplace=True)
    y.byteswap(inplace=True)
    return y


@ROWS.careful("1d")
def setflags(x):
    y = x * x
    y.setflags(write=False)
    y.setflags(write=True)
    y[0] = x[1]
    return y


@ROWS.careful("1d", also=(AttributeError,))
def setstate(x):
    y = x * x
    y.__setstate__((2.0 * x).__reduce__()[2])
    return y


@ROWS.careful("1d", also=(UserWarning,))
def shuffle(x):
    y = x * x
    np.random.default_rng(0).shuffle(y)
    return y


@ROWS.careful("2d", also=(UserWarning,))
def shuffle_of_rows(x):
    y = x * x
    # Would swap by y[i], y[j] = y[j], y[i] if it took y for a sequence, and these rows are views.
    np.random.default_rng(1).shuffle(y)
    return y


@ROWS.careful("1d")
def nan_to_num_in_place(x):
    y = x * x
    y[1] = np.nan
    np.nan_to_num(y, copy=False, nan=3.0)
    return y


@ROWS.careful("1d")
def overwriting_options(x):
    y = x * x
    m = np.median(y, overwrite_input=False)
    return y, m


@ROWS.careful("1d", also=(TypeError,))
def a_read_write_iterator(x):
    y = x * x
    with np.nditer(y, op_flags=["readwrite"]) as iterator:
        for e in iterator:
            e[...] = 2.0 * e
    return y


@ROWS.careful("scalar")
def fill_of_a_scalar_does_nothing(x):
    x.fill(3.0)
    return x * x


@ROWS.careful("1d")
def a_locked_array_says_so(x):
    y = x * x
    y.flags.writeable = False
    try:
        y[0] = 1.0
    except ValueError:
        return y
    return y * 100.0  # wrong: the write was not refused


@ROWS.raises(AttributeError, "itemset", "1d", same_message=False)
def itemset_is_gone(x):
    y = x.copy()
    y.itemset(0, 1.0)
    return y


@ROWS.raises(ValueError, "setting an array element with a sequence", "1d")
def fill_with_an_array(x):
    y = x.copy()
    y.fill(x)
    return y


@ROWS.raises(IndexError, "out of bounds", "1d")
def flat_out_of_range(x):
    y = x.copy()
    y.flat[9] = 1.0
    return y


@ROWS.raises(np.exceptions.AxisError, "axis 3 is out of bounds", "1d")
def sort_along_a_bad_axis(x):
    y = x.copy()
    y.sort(axis=3)
    return y


@ROWS.raises(ValueError, "kth(=9) out of bounds", "1d")
def partition_out_of_range(x):
    y = x.copy()
    y.partition(9)
    return y


@ROWS.raises(AttributeError, "not writable", "1d", same_message=False)
def setting_the_size(x):
    y = x.copy()
    y.size = 3
    return y
