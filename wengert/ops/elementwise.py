"""Elementwise functions: one line of derivative each.

Partials are written so that they are accurate in the tails, finite where the derivative is, and right when they are
differentiated again: a formula that is guarded at a point loses its second derivative there, so special points are
reached by better formulas, not by guards. `o` of the comments is the result. Figures: `tests/grid`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import tree
from wengert.core import aval_of, is_weak, weaken
from wengert.ops.kinds import Discrete, Elementwise, General
from wengert.ops.vector import Linear, aligned, fit_dtype, real_dtype, real_primitive, scale, sum_to, trailing

LN2 = math.log(2.0)
LN10 = math.log(10.0)
PI = math.pi


def _same_shape(x: Any) -> Any:
    return x.shape, x.dtype


# --------------------------------------------------------------------------------------------------- arithmetic

add = Elementwise(np.add, 1, 1, tags="complex")
subtract = Elementwise(np.subtract, 1, -1, tags="complex")
multiply = Elementwise(np.multiply, lambda y: y, lambda x: x, tags="complex")


def _one_over(y: Any) -> Any:
    """1/y: of a Python number a Python number, which leaves a float32 cotangent float32."""
    if type(y) is float and y:
        return 1.0 / y
    p = np.divide(1, y)
    return weaken(p) if is_weak(y) else p


divide = Elementwise(
    np.divide,
    _one_over,
    lambda y, out: -np.divide(out, y),  # -x/y² would over- and underflow at 1e±200
    domain=((-2, 2), (0.5, 2)),
    tags="complex",
)
negative = Elementwise(np.negative, -1, tags="complex")
positive = Elementwise(np.positive, 1, tags="complex")
reciprocal = Elementwise(np.reciprocal, lambda out: -np.square(out), domain=((0.5, 2),), tags="complex")
square = Elementwise(np.square, lambda x: 2 * x, tags="complex")


def _power_in_base(x: Any, y: Any) -> Any:
    if type(y) in (int, float, np.float64):
        return np.zeros_like(x) if y == 0 else y * np.power(x, y - 1) if y != 2 else 2 * x
    if aval_of(y).dtype.kind not in "fc":  # NumPy refuses integers to negative powers
        y = y * 1.0
    return scale(y, np.power(x, y - 1))  # the strong zero of y: x**0 has derivative 0 at x = 0


def _power_in_exponent(x: Any, y: Any, out: Any) -> Any:
    # 0**y is 0 on the right of y = 0; without the guard, a second reverse sweep pulls log 0 = −inf into that 0
    x = fit_dtype(x, aval_of(out))  # the log of a negative number may be complex, that of a Python number float32
    return scale(out, np.log(np.where(np.equal(x, 0) & np.greater_equal(y, 0), np.ones_like(x), x)))


power = Elementwise(np.power, _power_in_base, _power_in_exponent, domain=((0.5, 2), (-2, 3)), tags="complex")
float_power = Elementwise(
    np.float_power, _power_in_base, _power_in_exponent, domain=((0.5, 2), (-2, 3)), tags="complex float64"
)
floor_divide = Discrete("floor_divide", np.floor_divide, examples=[((3, 2), (3, 2)), ((), ())])
# x − y·⌊x/y⌋, with NumPy's own quotient: the same side at a jump as the value (1 % 0.1)
remainder = Elementwise(
    np.remainder, 1, lambda x, y: -np.floor_divide(x, y), domain=((0.1, 0.4), (0.5, 1)), tags="kinks"
)
fmod = Elementwise(
    np.fmod, 1, lambda x, y, out: -np.rint(np.divide(x - out, y)), domain=((0.1, 0.4), (0.5, 1)), tags="kinks"
)

# ------------------------------------------------------------------------------------- exponentials and logarithms

exp = Elementwise(np.exp, lambda out: out, tags="complex")
exp2 = Elementwise(np.exp2, lambda out: LN2 * out, tags="complex")
expm1 = Elementwise(np.expm1, np.exp, tags="complex")  # o + 1 loses digits for x ≪ 0
log = Elementwise(np.log, lambda x: np.divide(1, x), domain=((0.2, 3),), tags="complex")
log2 = Elementwise(np.log2, lambda x: np.divide(1 / LN2, x), domain=((0.2, 3),), tags="complex")
log10 = Elementwise(np.log10, lambda x: np.divide(1 / LN10, x), domain=((0.2, 3),), tags="complex")
log1p = Elementwise(np.log1p, lambda x: np.divide(1, 1 + x), domain=((-0.7, 3),), tags="complex")

# 1 / (1 + e^−x): no 1 − o in its partial, and an overflow of e^−x gives the right 0
logistic: Elementwise = Elementwise(
    lambda x: np.divide(1, 1 + np.exp(np.negative(x))), lambda x, out: out * logistic(np.negative(x)), name="logistic"
)
logistic2: Elementwise = Elementwise(
    lambda x: np.divide(1, 1 + np.exp2(np.negative(x))),
    lambda x, out: LN2 * (out * logistic2(np.negative(x))),
    name="logistic2",
)


def _gap_value(x: Any, y: Any) -> Any:
    difference = np.subtract(x, y)
    return np.where(np.equal(x, y), np.zeros((), difference.dtype), difference)[()]


# x − y, and 0 between equal infinities. A guard around the difference instead would zero the second derivative.
gap = Elementwise(_gap_value, 1, -1, name="gap")
logaddexp = Elementwise(np.logaddexp, lambda x, y: logistic(gap(x, y)), lambda x, y: logistic(gap(y, x)))
logaddexp2 = Elementwise(np.logaddexp2, lambda x, y: logistic2(gap(x, y)), lambda x, y: logistic2(gap(y, x)))

# ---------------------------------------------------------------------------------------------- roots and distances

sqrt = Elementwise(np.sqrt, lambda out: np.divide(0.5, out), domain=((0.2, 3),), tags="complex")
cbrt = Elementwise(np.cbrt, lambda out: np.divide(np.divide(1 / 3, out), out), domain=((0.2, 3),))


def _nonzero(h: Any) -> Any:
    """h, and 1 where h is 0: adds a constant, so that h keeps its derivative."""
    return h + np.equal(h, 0)


def _unit_value(x: Any, y: Any) -> Any:
    h = np.hypot(x, y)
    return np.divide(x, h + np.equal(h, 0))


# x / √(x² + y²), and 0 at the origin: the cosine of the angle. Its partials are y²/h³ and −xy/h³ without cancellation.
unit: Elementwise = Elementwise(
    _unit_value,
    lambda x, y: np.divide(np.square(unit(y, x)), _nonzero(np.hypot(x, y))),
    lambda x, y, out: -out * np.divide(unit(y, x), _nonzero(np.hypot(x, y))),
    name="unit",
    domain=((0.5, 2), (0.5, 2)),
)
hypot = Elementwise(np.hypot, lambda x, y: unit(x, y), lambda x, y: unit(y, x), domain=((0.5, 2), (0.5, 2)))

# --------------------------------------------------------------------------------------------------- trigonometric

sin = Elementwise(np.sin, np.cos, tags="complex")
cos = Elementwise(np.cos, lambda x: -np.sin(x), tags="complex")
tan = Elementwise(np.tan, lambda out: 1 + np.square(out), domain=((-1, 1),), tags="complex")
# (1 − x)(1 + x): exact near ±1, where 1 − x² is not; the product rule would lose digits near 0
one_minus_square = Elementwise(lambda x: (1 - x) * (1 + x), lambda x: -2 * x, name="one_minus_square", tags="complex")
arcsin = Elementwise(
    np.arcsin, lambda x: np.divide(1, np.sqrt(one_minus_square(x))), domain=((-0.8, 0.8),), tags="complex"
)
arccos = Elementwise(
    np.arccos, lambda x: np.divide(-1, np.sqrt(one_minus_square(x))), domain=((-0.8, 0.8),), tags="complex"
)
arctan = Elementwise(np.arctan, lambda x: np.divide(1, 1 + np.square(x)), tags="complex")
arctan2 = Elementwise(
    np.arctan2,
    lambda x, y: np.divide(unit(y, x), _nonzero(np.hypot(x, y))),  # x/(x² + y²) over- and underflows
    lambda x, y: -np.divide(unit(x, y), _nonzero(np.hypot(x, y))),
    domain=((0.5, 2), (0.5, 2)),
)
deg2rad = Elementwise(np.deg2rad, lambda: PI / 180)
rad2deg = Elementwise(np.rad2deg, lambda: 180 / PI)

# ------------------------------------------------------------------------------------------------------- hyperbolic


def _sech_squared_value(x: Any) -> Any:
    sech = np.reciprocal(np.cosh(x))
    return sech * sech


# 1/cosh²: 1 − tanh² has an error of 1e-8 at 10
sech_squared = Elementwise(
    _sech_squared_value, lambda x, out: -2 * (out * np.tanh(x)), name="sech_squared", tags="complex"
)
sinh = Elementwise(np.sinh, np.cosh, tags="complex")
cosh = Elementwise(np.cosh, np.sinh, tags="complex")
tanh = Elementwise(np.tanh, sech_squared, tags="complex")


def _arcsinh_partial(x: Any) -> Any:
    if aval_of(x).dtype.kind == "c":
        return np.divide(1, np.sqrt(1 + np.square(x)))
    return np.divide(1, np.hypot(1.0, x))  # √(1 + x²) overflows at 1e200


arcsinh = Elementwise(np.arcsinh, _arcsinh_partial, tags="complex")
arccosh = Elementwise(
    np.arccosh, lambda x: np.divide(np.divide(1, np.sqrt(x - 1)), np.sqrt(x + 1)), domain=((1.2, 3),), tags="complex"
)
arctanh = Elementwise(np.arctanh, lambda x: np.divide(1, one_minus_square(x)), domain=((-0.8, 0.8),), tags="complex")

# -------------------------------------------------------------------------- kinks: signs, extrema (docs: conventions)

sign = Discrete("sign", np.sign, examples=[((3, 2),), ((),)])
absolute = Elementwise(np.absolute, lambda x: np.sign(x), tags="kinks")
fabs = Elementwise(np.fabs, lambda x: np.sign(x), tags="kinks")


def _unit_complex_value(x: Any) -> Any:
    h = np.absolute(x)
    return np.divide(x, h + np.equal(h, 0))


# d|z| = Re(z̄ dz)/|z|, and 0 at 0
absolute_complex = General(
    "absolute_complex",
    np.absolute,
    slots="x",
    shape=lambda x: (x.shape, real_dtype(x.dtype)),
    pushforward=(lambda x_dot, x, out: real_primitive(np.conj(np.divide(x, _nonzero(out))) * x_dot),),
    batch=aligned,
    examples=[((3, 2),), ((),)],
    tags="complex-only",
)
# d(z/|z|) = (dz − u·Re(ū dz))/|z| with u = z/|z|
sign_complex = General(
    "sign_complex",
    np.sign,
    slots="x",
    shape=_same_shape,
    pushforward=(
        lambda x_dot, x, out: (
            np.not_equal(x, 0) * np.divide(x_dot - out * real_primitive(np.conj(out) * x_dot), _nonzero(np.absolute(x)))
        ),
    ),
    batch=aligned,
    examples=[((3, 2),), ((),)],
    tags="complex-only",
)


def _tie_share(x: Any, y: Any, out: Any) -> Any:
    """1 where x is the result, ½ where both are, 0 elsewhere; in the dtype of the result."""
    share = np.equal(out, x) - 0.5 * np.equal(x, y)
    return fit_dtype(share, aval_of(share)._replace(dtype=real_dtype(aval_of(out).dtype)))


def _share_of_x(x: Any, y: Any, out: Any) -> Any:
    return _tie_share(x, y, out)


def _share_of_y(x: Any, y: Any, out: Any) -> Any:
    return _tie_share(y, x, out)


maximum = Elementwise(np.maximum, _share_of_x, _share_of_y, tags="kinks")
minimum = Elementwise(np.minimum, _share_of_x, _share_of_y, tags="kinks")
fmax = Elementwise(np.fmax, _share_of_x, _share_of_y, tags="kinks")
fmin = Elementwise(np.fmin, _share_of_x, _share_of_y, tags="kinks")
copysign = Elementwise(
    np.copysign, lambda x, y: np.sign(x) * fit_dtype(np.copysign(1, y), aval_of(x)), None, tags="kinks"
)


def _exponents(rng: np.random.Generator, dtype: Any) -> Any:
    return rng.integers(-2, 4, 2)


nextafter = Elementwise(np.nextafter, 1, None)
heaviside = Elementwise(np.heaviside, None, lambda x, y: np.equal(x, 0) * np.ones_like(y), tags="kinks")
ldexp = Linear(
    "ldexp",
    np.ldexp,
    slots="x y",
    shape=lambda x, y: (np.broadcast_shapes(x.shape, y.shape), x.dtype),
    transpose=(lambda ct, into, y: sum_to(np.ldexp(ct, y), shape=into.shape), None),
    batch=aligned,
    examples=[((3, 2), _exponents), ((3, 1), _exponents), ((), _exponents)],
)

# ----------------------------------------------------------------------------------------------------- complex parts


# ⟨a, b⟩ = Re Σ ab: Im z = Re(−i z), so its transpose multiplies by −i; that of conj is conj
imag = Linear(
    "imag",
    lambda x: np.imag(x),
    shape=lambda x: (x.shape, real_dtype(x.dtype)),
    transpose=(lambda ct, into: -1j * ct if into.dtype.kind == "c" else 0.0 * ct,),
    batch=trailing,
    scalar=False,
    examples=[((3, 2),)],
    tags="complex",
)
conjugate = Linear(
    "conjugate",
    np.conjugate,
    slots="x",
    shape=_same_shape,
    transpose=(lambda ct, into: np.conjugate(ct),),
    batch=trailing,
    examples=[((3, 2),), ((),)],
    tags="complex",
)

# --------------------------------------------------------------------------------------------------------- families


def _sinpi_cospi(x: Any) -> tuple[Any, Any]:
    """sin πx and cos πx by exact reduction to a quarter turn."""
    turns = np.rint(2 * x)
    r = PI * (x - turns / 2)
    s, c, k = np.sin(r), np.cos(r), np.mod(turns, 4)
    cases = [k == 0, k == 1, k == 2]
    return np.select(cases, [s, c, -s], -c), np.select(cases, [c, -s, -c], s)


def _sinc_derivative_value(x: Any, *, order: int) -> Any:
    # sinc⁽ⁿ⁾(x) = πⁿ fₙ(πx) with fₙ(z) = ∫₀¹ tⁿ cos(zt + nπ/2) dt. By parts z fₙ + n fₙ₋₁ = sin⁽ⁿ⁾ z, which divides by
    # z and serves for |z| ≥ n + 3; below, Gauss–Legendre on the integral has no cancellation.
    wide = np.asarray(x, np.complex128 if np.iscomplexobj(x) else np.float64)
    z = PI * wide
    s, c = _sinpi_cospi(wide) if wide.dtype.kind == "f" else (np.sin(z), np.cos(z))
    ring = (s, c, -s, -c)
    small = np.abs(z) < order + 3
    large_z = np.where(small, 1, z)
    f = s / large_z
    for k in range(1, order + 1):
        f = (ring[k % 4] - k * f) / large_z
    if np.any(small):
        small_z = np.where(small, z, 0)
        nodes, weights = np.polynomial.legendre.leggauss(24 + order // 2)
        near = np.zeros_like(z)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            wave = np.cos(node * small_z) if order % 2 == 0 else np.sin(node * small_z)
            near += weight * node**order * (wave if order % 4 in (0, 3) else -wave)
        f = np.where(small, near, f)
    return (PI**order * f).astype(np.result_type(np.asarray(x).dtype, np.float16))[()]


# The derivative of order n of sinc; each member's partial is the next, so that no point needs a guard
sinc_derivative: General = General(
    "sinc_derivative",
    _sinc_derivative_value,
    slots="x",
    shape=lambda x, *, order: (x.shape, np.result_type(x.dtype, np.float16)),
    pushforward=(lambda x_dot, x, *, order: scale(x_dot, sinc_derivative(x, order=order + 1)),),
    batch=trailing,
    examples=[((3, 2), {"order": 1}), ((), {"order": 2})],
)
sinc = Elementwise(lambda x: np.sinc(x), lambda x: sinc_derivative(x, order=1), name="sinc")


def _bessel_i_value(x: Any, *, order: int) -> Any:
    # I_k(x) = (x/2)^k / (√π Γ(k+½)) ∫₀^π e^{x cos θ} sin^{2k} θ dθ (DLMF 10.32.2). The trapezoidal rule converges
    # exponentially on it, and all its terms are positive.
    wide = np.asarray(x, np.float64)
    a = np.abs(wide)
    count = 16 + 2 * order + int(5 * math.sqrt(min(float(np.max(a, initial=0.0, where=np.isfinite(a))), 720.0)))
    total = np.zeros_like(a)
    for theta in np.arange(1, count) * (PI / count):
        total += math.sin(theta) ** (2 * order) * np.exp(-2 * a * math.sin(theta / 2) ** 2)
    if order == 0:
        total += 0.5 * (1 + np.exp(-2 * a))
    factor = PI / count / (math.sqrt(PI) * math.gamma(order + 0.5))
    return (factor * (wide / 2) ** order * total * np.exp(a)).astype(np.result_type(np.asarray(x).dtype, np.float16))[
        ()
    ]


def _bessel_i_slope(x: Any, order: int) -> Any:
    if order == 0:
        return bessel_i(x, order=1)
    return 0.5 * (bessel_i(x, order=order - 1) + bessel_i(x, order=order + 1))


# I₀′ = I₁ and I_k′ = (I_{k−1} + I_{k+1})/2, all of one sign: nothing to guard at 0, where I₀ − I₁/x is 0/0
bessel_i: General = General(
    "bessel_i",
    _bessel_i_value,
    slots="x",
    shape=lambda x, *, order: (x.shape, np.result_type(x.dtype, np.float16)),
    pushforward=(lambda x_dot, x, *, order: scale(x_dot, _bessel_i_slope(x, order)),),
    batch=trailing,
    examples=[((3, 2), {"order": 1}), ((), {"order": 0})],
)
i0 = Elementwise(lambda x: np.i0(x)[()], lambda x: bessel_i(x, order=1), name="i0")

# ------------------------------------------------------------------------------------- comparisons, rounding, logic

DISCRETE_ONE = [
    Discrete(ufunc.__name__, ufunc, examples=[((3, 2),), ((),)])
    for ufunc in (
        np.floor, np.ceil, np.trunc, np.rint, np.isnan, np.isinf, np.isfinite, np.signbit, np.spacing, np.logical_not,
    )
]  # fmt: skip
DISCRETE_TWO = [
    Discrete(ufunc.__name__, ufunc, examples=[((3, 2), (3, 2)), ((3, 1), (2,)), ((), ())])
    for ufunc in (
        np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.logical_and, np.logical_or,
        np.logical_xor,
    )
]  # fmt: skip
INTEGER = [
    Discrete(ufunc.__name__, ufunc, tags="integer", examples=[((3, 2),) * ufunc.nin, ((),) * ufunc.nin])
    for ufunc in (
        np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift, np.gcd, np.lcm,
    )
]  # fmt: skip
round_ = Discrete(
    "round",
    lambda x, *, decimals: np.round(x, decimals),
    shape=lambda x, *, decimals: (x.shape, x.dtype),
    batch=trailing,
    examples=[((3, 2), {"decimals": 1})],
)
stopped = Discrete(
    "stop_gradient",
    lambda x: np.copy(x) if isinstance(x, np.ndarray) else x,
    shape=_same_shape,
    batch=trailing,
    scalar=False,
    examples=[((3, 2),)],
    tags="complex",
)


def stop_gradient(x: Any) -> Any:
    """The same values, as constants: their derivative is taken to be 0.

    `x` is an array, a number or a container of them.

    >>> import wengert as wg
    >>> wg.grad(lambda x: x * wg.stop_gradient(x))(3.0)
    np.float64(3.0)
    """

    def stop(leaf: Any) -> Any:
        return stopped(leaf)

    return tree.map_leaves(stop, x)


# ------------------------------------------------------------------------------------------------- several results


divmod_ = General(
    "divmod",
    lambda x, y: np.divmod(x, y),
    shape=lambda x, y: [(np.broadcast_shapes(x.shape, y.shape), np.result_type(x.dtype, y.dtype))] * 2,
    pushforward=(
        lambda x_dot: (None, x_dot),
        lambda y_dot, x, y: (None, -np.floor_divide(x, y) * y_dot),
    ),
    batch=aligned,
    multiple=True,
    examples=[((3, 2), (3, 2))],
    tags="kinks",
)
modf = General(
    "modf",
    lambda x: np.modf(x),
    shape=lambda x: [(x.shape, x.dtype)] * 2,
    pushforward=(lambda x_dot: (x_dot, None),),
    batch=aligned,
    multiple=True,
    examples=[((3, 2),)],
    tags="kinks",
)
frexp = General(
    "frexp",
    lambda x: np.frexp(x),
    shape=lambda x: [(x.shape, x.dtype), (x.shape, np.dtype(np.int32))],
    pushforward=(lambda x_dot, out: (np.ldexp(x_dot, -out[1]), None),),
    batch=aligned,
    multiple=True,
    examples=[((3, 2),)],
    tags="kinks",
)
