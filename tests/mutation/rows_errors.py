"""The user's own mistakes in an assignment: NumPy's exception, type and message."""

from __future__ import annotations

import numpy as np

from .row import Rows

ROWS = Rows()


@ROWS.raises(ValueError, "setting an array element with a sequence", "1d")
def an_element_with_a_list(x):
    y = x.copy()
    y[0] = [1.0, 2.0]
    return y


@ROWS.raises(ValueError, "setting an array element with a sequence", "1d")
def an_element_with_an_array(x):
    y = x.copy()
    y[0] = x
    return y


@ROWS.raises(ValueError, "setting an array element with a sequence", "1d")
def an_element_with_an_array_of_one(x):
    y = x.copy()
    y[0] = x[:1]
    return y


@ROWS.raises(ValueError, "setting an array element with a sequence", "1d")
def an_element_with_a_plain_array(x):
    y = x.copy()
    y[2] = np.ones(3)
    return y


@ROWS.raises(ValueError, "could not broadcast input array from shape (4,) into shape (2,)", "1d")
def a_slice_with_too_many(x):
    y = x.copy()
    y[1:3] = x
    return y


@ROWS.raises(ValueError, "could not broadcast input array from shape (2,) into shape (0,)", "1d")
def an_empty_slice_with_two(x):
    y = x.copy()
    y[9:12] = x[:2]
    return y


@ROWS.raises(ValueError, "could not broadcast input array from shape (2,3) into shape (3,)", "2d")
def a_row_with_a_matrix(x):
    y = x.copy()
    y[0] = x
    return y


@ROWS.raises(ValueError, "shape mismatch: value array of shape (4,)", "1d")
def a_list_of_indices_with_too_many(x):
    y = x.copy()
    y[[0, 1]] = x
    return y


@ROWS.raises(ValueError, "cannot assign 2 input values to the 3 output values", "1d")
def a_mask_with_too_few(x):
    y = x.copy()
    y[np.array([True, True, True, False])] = x[:2]
    return y


@ROWS.raises(TypeError, "boolean array indexing assignment requires a 0 or 1-dimensional input", "1d")
def a_mask_with_a_matrix(x):
    y = x.copy()
    y[np.array([True, True, True, False])] = x[None, :3]
    return y


@ROWS.raises(IndexError, "index 9 is out of bounds for axis 0 with size 4", "1d")
def index_out_of_range(x):
    y = x.copy()
    y[9] = x[0]
    return y


@ROWS.raises(IndexError, "index -3 is out of bounds for axis 0 with size 2", "2d")
def negative_index_out_of_range(x):
    y = x.copy()
    y[-3, 0] += 1.0
    return y


@ROWS.raises(IndexError, "index 9 is out of bounds", "1d")
def list_of_indices_out_of_range(x):
    y = x.copy()
    y[[0, 9]] = 1.0
    return y


@ROWS.raises(IndexError, "too many indices for array: array is 1-dimensional, but 2 were indexed", "1d")
def too_many_indices(x):
    y = x.copy()
    y[0, 0] = 1.0
    return y


@ROWS.raises(IndexError, "too many indices for array: array is 0-dimensional", "0d")
def an_element_of_a_0d_array(x):
    y = x.copy()
    y[0] = 1.0
    return y


@ROWS.raises(IndexError, "only integers, slices", "1d")
def a_string_as_index(x):
    y = x.copy()
    y["a"] = 1.0
    return y


@ROWS.raises(IndexError, "only integers, slices", "1d")
def a_float_as_index(x):
    y = x.copy()
    y[1.0] = x[0]
    return y


@ROWS.raises(IndexError, "boolean index did not match indexed array along axis 0", "1d")
def a_mask_of_the_wrong_length(x):
    y = x.copy()
    y[np.array([True, False])] = 1.0
    return y


@ROWS.raises(IndexError, "shape mismatch: indexing arrays could not be broadcast together", "2d")
def indices_that_do_not_broadcast(x):
    y = x.copy()
    y[[0, 1], [0, 1, 2]] = 1.0
    return y


@ROWS.raises(ValueError, "cannot delete array elements", "1d")
def delete_an_element(x):
    y = x.copy()
    del y[0]
    return y


@ROWS.raises(TypeError, "does not support item assignment", "scalar", "float", same_message=False)
def an_element_of_a_scalar(x):
    x[0] = 1.0
    return x


@ROWS.raises(TypeError, "does not support item assignment", "1d", same_message=False)
def an_element_of_an_element(x):
    y = x.copy()
    e = y[0]
    e[...] = 1.0
    return y


@ROWS.raises(ValueError, "could not convert string to float", "1d")
def a_string_as_value(x):
    y = x.copy()
    y[0] = "a"
    return y


@ROWS.raises(ValueError, "non-broadcastable output operand with shape (4,)", "1d")
def in_place_broadcasting_that_enlarges(x):
    y = x.copy()
    y += np.ones((4, 4))
    return y


@ROWS.raises(ValueError, "non-broadcastable output operand with shape ()", "0d")
def in_place_broadcasting_that_enlarges_a_0d_array(x):
    y = x.copy()
    y *= np.ones(3)
    return y


@ROWS.raises(ValueError, "non-broadcastable output operand with shape (2,)", "2d")
def in_place_broadcasting_that_enlarges_a_view(x):
    y = x.copy()
    v = y[0, :2]
    v *= x[:, :2]
    return y


@ROWS.raises(ValueError, "operands could not be broadcast together", "1d")
def in_place_shapes_that_do_not_match(x):
    y = x.copy()
    y[1:3] += x
    return y
