"""The buffer's dtype rules: what is written is cast to it, or NumPy's casting error is raised."""

from __future__ import annotations

import numpy as np

from .row import F32, Rows

ROWS = Rows()
CASTING = np._core._exceptions._UFuncOutputCastingError


@ROWS.works("1d", **F32)
def float32_buffer_plus_float64(x):
    y = np.zeros(4, dtype=np.float32, like=x)
    y += x
    return y


@ROWS.works("1d", step=2.0**-5, rtol=1e-2)
def float32_buffer_all_operators(x):
    y = np.ones(4, dtype=np.float32, like=x)
    v = y[1:]
    y += x
    y -= 0.5
    v *= x[1:]
    y /= x[::-1]
    y **= 2.0
    return y, v


@ROWS.works("1d", **F32)
def float32_buffer_assigned(x):
    y = np.zeros_like(x, dtype=np.float32)
    y[:2] = x[:2] * x[:2]
    y[[2, 3]] = x[2:]
    y[0] = x[3]
    return y


@ROWS.works("1d", **F32)
def float32_buffer_by_out(x):
    y = np.zeros(4, dtype=np.float32, like=x)
    np.multiply(x, x, out=y)
    np.copyto(y[:2], x[2:])
    return y


@ROWS.works("1d")
def float32_values_into_a_float64_buffer(x):
    y = x.copy()
    y[:2] = np.array([0.1, 0.2], dtype=np.float32)
    y *= np.float32(0.1)
    return y


@ROWS.works("f32")
def python_scalars_stay_weak(x):
    y = x.copy()
    y += 0.1
    y *= 2
    y **= 2
    z = y * 0.5
    z[0] = 0.1
    return y, z


@ROWS.works("f32")
def float64_operand_into_a_float32_argument(x):
    y = x.copy()
    y *= np.linspace(0.5, 1.5, 4)
    y[1] += np.float64(0.1)
    return y


@ROWS.works("f32")
def float64_buffer_from_float32(x):
    y = np.zeros(4, like=x)  # float64: `like` chooses the class, not the dtype
    y += x
    y[0] = x[1] * x[2]
    return y


@ROWS.works("1d", step=2.0**-8, rtol=2e-2)
def float16_buffer(x):
    y = np.zeros(4, dtype=np.float16, like=x)
    y[:] = np.round(x * 0.0 + 1.0)
    return y * x


@ROWS.works("1d")
def integer_buffer_truncates_what_is_assigned(x):
    y = np.zeros(4, dtype=int, like=x)
    y[:] = x
    y[0] = x[3]
    return y * x


@ROWS.works("1d")
def integer_buffer_of_integers(x):
    y = np.zeros(4, dtype=int, like=x)
    y[1:] += 3
    y *= 2
    y[0] = 7
    return y * x


@ROWS.works("1d", second=True)
def complex_buffer_of_reals(x):
    y = np.zeros(4, dtype=complex, like=x)
    y[:] = x
    y *= 1j * x
    y.imag[1] = x[0]
    return y.real, y.imag


@ROWS.works("complex")
def reals_into_a_complex_argument(x):
    y = x.copy()
    y[0] = 2.0
    y[1] = x[1].real
    y += x.imag
    return y


@ROWS.works("complex")
def complex_products_in_place(x):
    y = x.copy()
    v = y[::2]
    v *= x[1::2]
    y *= 2.0j
    y /= x + 1.0
    y **= 2
    return y, v


@ROWS.raises(CASTING, "Cannot cast ufunc 'add' output from dtype('float64') to dtype('int64')", "1d")
def integer_buffer_plus_float(x):
    y = np.zeros(4, dtype=int, like=x)
    y += x
    return y


@ROWS.raises(CASTING, "Cannot cast ufunc 'divide' output", "1d")
def integer_buffer_divided(x):
    y = np.ones(4, dtype=int, like=x)
    y /= 2
    return y * x


# Under Dual and Variable the integers are a plain array, so that our refusal of the write is as good an answer.
@ROWS.raises(CASTING, "Cannot cast ufunc 'add' output from dtype('float64') to dtype('int64')", "1d", also=(TypeError,))
def rounded_integers_plus_float(x):
    y = np.floor(x).astype(int)
    y += x
    return y


@ROWS.raises(CASTING, "Cannot cast ufunc 'add' output from dtype('float64') to dtype('bool')", "1d")
def bool_buffer_plus_float(x):
    y = np.zeros(4, dtype=bool, like=x)
    y += x
    return y


@ROWS.raises(CASTING, "Cannot cast ufunc 'multiply' output from dtype('complex128') to dtype('float64')", "1d")
def real_buffer_times_complex(x):
    y = x.copy()
    y *= 1j
    return y


@ROWS.raises(CASTING, "Cannot cast ufunc 'add' output from dtype('complex128') to dtype('float64')", "complex")
def real_part_plus_complex(x):
    y = x.copy()
    y.real += x
    return y


@ROWS.raises(CASTING, "Cannot cast ufunc 'multiply' output from dtype('float64') to dtype('int64')", "1d")
def integer_out(x):
    y = np.zeros(4, dtype=int, like=x)
    np.multiply(x, x, out=y)
    return y


@ROWS.raises(TypeError, "float() argument must be a string or a real number, not 'complex'", "1d")
def an_element_with_a_complex_number(x):
    y = x.copy()
    y[0] = 1j
    return y


@ROWS.raises(TypeError, "Cannot cast array data from dtype('float64') to dtype('int64')", "1d")
def copyto_that_would_truncate(x):
    y = np.zeros(4, dtype=int, like=x)
    np.copyto(y, x)
    return y


@ROWS.raises(TypeError, "array does not have imaginary part to set", "1d")
def imaginary_part_of_a_real_array(x):
    y = x.copy()
    y.imag = 1.0
    return y


@ROWS.raises(ValueError, "read-only", "1d")
def element_of_the_imaginary_part_of_a_real_array(x):
    y = x.copy()
    y.imag[0] = 1.0
    return y
