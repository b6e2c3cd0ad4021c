"""``y[index] = value`` for every kind of index and value, with reads before and after."""

from __future__ import annotations

import numpy as np

from .row import INPUTS, Rows

ROWS = Rows()

INDICES = {
    "int": 1,
    "negative": -1,
    "numpy int": np.int64(2),
    "0-d int array": np.array(2),
    "slice": slice(1, 3),
    "step": slice(None, None, 2),
    "backwards": slice(None, None, -1),
    "backwards step": slice(3, 0, -2),
    "empty": slice(2, 2),
    "all": slice(None),
    "ellipsis": ...,
    "int, ellipsis": (1, ...),
    "newaxis": (None, slice(1, 3)),
    "list": [0, 2],
    "negative list": [-1, 0],
    "duplicates": [1, 1, 0],
    "array": np.array([3, 1]),
    "matrix of indices": np.array([[3, 1], [0, 2]]),
    "tuple of one list": ([2, 3],),
    "mask": np.array([True, False, True, False]),
    "empty mask": np.zeros(4, dtype=bool),
    "list mask": [False, True, True, False],
    "empty list": [],
    "True": True,
    "False": False,
}
INDICES_2D = {
    "row": 1,
    "element": (1, 2),
    "column": (slice(None), 1),
    "block": (slice(0, 2), slice(1, None)),
    "ellipsis, column": (..., 0),
    "reversed both": (slice(None, None, -1), slice(None, None, -1)),
    "int and list": (0, [0, 2]),
    "slice and list": (slice(None), [2, 0]),
    "pairs": ([0, 1], [2, 0]),
    "ix_": np.ix_([1, 0], [0, 2]),
    "slice and mask": (slice(None), np.array([True, False, True])),
    "mask of rows": np.array([False, True]),
    "mask of all": np.array([[True, False, True], [False, True, False]]),
    "newaxis between": (slice(None), None, [0, 1]),
    "split advanced": (1, None, [0, 1]),
}


def _assign(index, value):
    def program(x):
        y = 2.0 * x
        before = y * y
        target = y[index]  # read before the write: a copy, a scalar or a view, as NumPy decides
        y[index] = value(x, target)
        return y, before, 1.0 * target, 1.0 * y[index]

    return program


VALUES = {
    "constant": lambda x, target: 0.35,
    "scalar": lambda x, target: x[0] * x[-1] if x.ndim == 1 else x[0, 1] * x[1, 0],
    "same shape": lambda x, target: target * target + 0.25,
    "leading ones": lambda x, target: np.sin(target)[None],
}
for table, an_input in ((INDICES, "1d"), (INDICES_2D, "2d")):
    for index_name, index in table.items():
        for value_name, value in VALUES.items():
            # NumPy drops leading ones of the value only where the target is an array, not chosen by one whole mask.
            if value_name == "leading ones" and (
                isinstance(INPUTS[an_input][index], float)
                or index_name in ("mask", "empty mask", "list mask", "mask of all")
            ):
                continue
            ROWS.add(f"[{index_name}] = {value_name}", _assign(index, value), (an_input,), "works",
                     second=value_name == "same shape")  # fmt: skip
for index_name in ("int", "slice", "list", "mask", "duplicates", "ellipsis"):
    ROWS.add(f"[{index_name}] = same shape", _assign(INDICES[index_name], VALUES["same shape"]),
             ("complex", "strided", "f32"), "works")  # fmt: skip


@ROWS.works("0d", second=True)
def into_a_0d_array(x):
    y = x.copy()
    v = y[()] * 1.0
    y[()] = x * x
    z = y * 1.0
    y[...] = y + z
    y[None] = y[None] * 3.0
    return y, z, v


@ROWS.works("0d")
def mask_of_a_0d_array(x):
    y = x.copy()
    y[True] = x * x
    y[np.array(False)] = 7.0
    return y


@ROWS.works("1d", second=True)
def fresh_buffer_from_like(x):
    y = np.zeros(3, like=x)
    y[0] = x[0] * x[1]
    y[1:] = x[2:] ** 2
    return y


@ROWS.works("1d", "2d", "0d", "complex", "f32")
def fresh_buffer_from_zeros_like(x):
    y = np.zeros_like(x)
    y[...] = x * x
    return y


@ROWS.works("1d", "2d", "complex")
def fresh_buffer_from_empty_like(x):
    y = np.empty_like(x)
    y[::-1] = x * 2.0
    return y


@ROWS.works("1d")
def every_fresh_buffer(x):
    buffers = (
        np.empty(4, like=x),
        np.ones(4, like=x),
        np.full(4, 0.5, like=x),
        np.ones_like(x),
        np.full_like(x, 0.25),
        np.arange(4.0, like=x),
        np.array([1.0, 2.0, 3.0, 4.0], like=x),
        np.asarray([1.0, 2.0, 3.0, 4.0], like=x),
    )
    for i, y in enumerate(buffers):
        y[:] = x * i
        y[1] = y[0] * x[2]
    return buffers


@ROWS.works("square")
def fresh_matrices(x):
    a, b = np.eye(3, like=x), np.identity(3, like=x)
    a[0] = x[1]
    b += x
    return a, b


@ROWS.works("1d")
def full_of_a_traced_number(x):
    y = np.full(4, x[1], like=x)
    z = np.full_like(x, x[2])
    y[0] = x[0]
    z *= y
    return y, z


@ROWS.works("1d", second=True)
def a_list_of_traced_numbers(x):
    y = x.copy()
    y[:] = [x[1], 1.0, x[0] * x[2], 2]
    y[1:3] = (y[0], y[0])
    return y


@ROWS.works("2d")
def a_list_of_traced_rows(x):
    y = x.copy()
    y[:] = [x[1], x[0] * 2.0]
    return y


@ROWS.works("1d", "f32")
def a_plain_array_and_an_integer(x):
    y = x.copy()
    y[1:3] = np.array([5, 6])
    y[0] = 7
    y[3] = True
    return y * x


@ROWS.works("1d")
def constants_overwrite_derivatives(x):
    y = x * x
    y[1:3] = 0.0
    return y


@ROWS.works("1d", second=True)
def last_write_wins(x):
    y = x.copy()
    for factor in (1.0, 2.0, 3.0):
        y[1] = factor * x[0] * x[1]
    return y


@ROWS.works("1d", second=True)
def duplicates_keep_the_last(x):
    y = x.copy()
    y[[0, 0, 1]] = [x[1], x[2] * x[2], x[3]]
    y[np.array([3, 3])] = np.stack([x[0], x[0] * x[1]])
    return y


@ROWS.works("1d", second=True)
def fill_one_by_one(x):
    y = np.zeros(len(x), like=x)
    for i in range(len(x)):
        y[i] = x[i] * x[i - 1]
    return y


@ROWS.works("1d", second=True)
def recurrence(x):
    y = np.empty_like(x)
    y[0] = x[0]
    for i in range(1, len(x)):
        y[i] = np.sin(y[i - 1]) * x[i]
    return y


@ROWS.works("1d", second=True)
def swap_of_two_elements(x):
    y = x * x
    y[0], y[2] = y[2], y[0]
    return y * x


@ROWS.works("2d")
def swap_of_two_rows_that_numpy_gets_wrong(x):
    y = x * x
    y[0], y[1] = y[1], y[0]  # the right-hand sides are views: both rows end as row 1
    return y * x


@ROWS.works("2d")
def swap_of_two_rows_by_copy(x):
    y = x * x
    kept = y[0].copy()
    y[0] = y[1]
    y[1] = kept
    return y * x


@ROWS.works("2d")
def swap_of_two_rows_by_list(x):
    y = x * x
    y[[0, 1]] = y[[1, 0]]
    return y * x


@ROWS.works("1d", second=True)
def overlapping_shift_right(x):
    y = x * x
    y[1:] = y[:-1]
    return y


@ROWS.works("1d")
def overlapping_shift_left(x):
    y = x * x
    y[:-1] = y[1:]
    return y


@ROWS.works("1d")
def overlapping_reversal(x):
    y = x * x
    y[:] = y[::-1]
    return y


@ROWS.works("square")
def overlapping_transposition(x):
    y = x * x
    y[...] = y.T
    return y


@ROWS.works("1d")
def assigned_to_itself(x):
    y = x * x
    y[...] = y
    y[:2] = y[:2]
    return y


@ROWS.works("1d")
def read_after_write_through_an_alias(x):
    y = x.copy()
    b = y
    b[0] = x[1] * x[1]
    y[1] = b[0] + 1.0
    return y, b


@ROWS.works("1d")
def consumers_keep_what_they_read(x):
    y = x.copy()
    a = np.sin(y)
    y[0] = 5.0
    b = np.sin(y)
    y[1:] = a[:-1]
    return a, b, np.sin(y)


@ROWS.works("1d")
def the_value_is_read_at_the_write(x):
    y, z = x.copy(), 2.0 * x
    y[:] = z
    z[0] = 100.0
    return y, z


@ROWS.works("1d")
def chained_basic_indexing_writes(x):
    y = x.copy()
    y[1:][1] = x[0] * 3.0
    y[::-1][:2][0] = x[1]
    return y


@ROWS.works("2d")
def chained_indexing_of_a_matrix_writes(x):
    y = x.copy()
    y[0][1] = x[1, 1] ** 2
    y[1][:2][::-1] = x[0, :2]
    return y


@ROWS.works("1d")
def chained_fancy_indexing_does_not_write(x):
    y = x.copy()
    y[[0, 2]][0] = 100.0
    y[np.array([True, True, False, False])][:] = 100.0
    return y


@ROWS.works("1d")
def a_mask_copy_is_not_a_view(x):
    y = x.copy()
    v = y[np.array([True, False, True, True])]
    v[0] = 100.0
    y[2] = x[0] * x[0]
    return y, v


@ROWS.works("2d", second=True)
def a_zero_d_view_writes(x):
    y = x.copy()
    v = y[1, 2, ...]
    v[...] = x[0, 0] ** 2
    w = y[0, 0]
    w += 50.0  # a scalar
    return y, v


@ROWS.works("1d")
def mask_from_a_comparison(x):
    y = x * x
    y[x > 1.0] = 0.0
    y[y < 0.5] = x[0]
    return y


@ROWS.works("1d", vmap="careful", trace="careful")
def mask_from_a_comparison_in_place(x):
    y = x * x
    y[y > 1.0] *= 3.0  # reads as many elements as the values say
    return y


@ROWS.works("1d", vmap="careful", trace="careful")
def mask_from_a_comparison_reads_and_writes(x):
    y = x * x
    m = x > 1.0
    y[m] = x[m] * y[m][::-1]
    return y


@ROWS.works("1d", vmap="careful", trace="careful", second=True)
def index_from_argsort(x):
    y = x * x
    order = np.argsort(x)
    y[order[:2]] = x[order[2:]] ** 2
    y[order] *= np.arange(1.0, 5.0)
    return y


@ROWS.works("1d", vmap="careful", trace="careful")
def index_from_argmax(x):
    y = x * x
    y[np.argmax(x)] = x[np.argmin(x)]
    return y


@ROWS.works("1d", vmap="careful", trace="careful")
def index_from_nonzero(x):
    y = x * x
    y[np.nonzero(x > 1.0)] = x[0]
    return y


@ROWS.works("1d", vmap="careful", trace="careful")
def a_branch_on_a_value(x):
    y = x.copy()
    for i in range(4):
        if y[i] > 1.5:
            y[i] *= y[0]
        else:
            y[i] = -y[i]
    return y


@ROWS.works("3d")
def ellipsis_and_newaxis_targets(x):
    y = x.copy()
    y[..., 0] = x[::-1, :, 0] ** 2
    y[:, None, 1] = y[:, None, 0] * 2.0
    y[2, ..., None] = 0.5
    return y


@ROWS.works("3d")
def advanced_indices_apart_move_to_the_front(x):
    y = np.zeros((3, 2, 3), like=x)
    y[[0, 2], :, [1, 2]] = x[1:, :, 0] * x[0, 0, 0]
    return y


@ROWS.works("2d")
def broadcasting_into_the_target(x):
    y = x.copy()
    y[:] = x[1] * x[0]
    y[:, 1:] = x[:, :1]
    y[:, 0] = x[1, 1]
    return y


@ROWS.works("1d")
def index_arrays_changed_later(x):
    y = x.copy()
    index, m = np.array([0, 1]), np.array([True, False, False, True])
    a, b = y[index], y[m]
    y[index] = x[2:] ** 2
    y[m] += 1.5
    index[:], m[:] = 3, False
    return y, a, b


@ROWS.works("1d", second=True)
def plain_operand_changed_later(x):
    c = np.array([2.0, 3.0, 4.0, 5.0])
    z = x * c
    y = x.copy()
    y[:2] = c[:2]
    y *= c
    c[:] = 99.0
    return z, y
