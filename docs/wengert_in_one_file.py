"""wengert in one file: automatic differentiation, built from nothing but NumPy.

Read it from top to bottom, or run it: `python docs/wengert_in_one_file.py`. Each section has one idea, builds it, and
ends with assertions against closed forms. The names are those of the library, whose engine is this one with its edges
worked out; the last lines say what that means.

     1  A Wengert list by hand             7  Many at once
     2  Dual numbers                       8  The list itself
     3  Dispatch follows the data          9  Reverse mode is forward mode, transposed
     4  Forward mode                      10  Second derivatives
     5  Reverse mode                      11  A small model, trained
     6  Nesting without confusion
"""

import functools
import itertools
import math

import numpy as np

# ======================================================================================= 1. A Wengert list by hand
#
# A program that computes a number is, in the end, a list of elementary operations. Such a list can be differentiated
# line by line (R. E. Wengert, CACM 7(8), 1964), with the chain rule and a table of elementary derivatives. No formula
# for f′ is ever formed, and no step size is chosen: the result is exact to rounding.
#
# Take f(x) = ln(sin x² + eˣ). In the forward reading each line carries a tangent, v_dot = dv/dx, computed in the same
# order as the values. In the reverse reading each line carries a cotangent, v_bar = df/dv, computed from the last line
# to the first. A value that is read twice (x, here) receives two contributions, which add.


def list_by_hand(x):
    """The value of ln(sin x² + eˣ), and its derivative by both readings of its Wengert list."""
    v1 = x * x
    v2 = np.sin(v1)
    v3 = np.exp(x)
    v4 = v2 + v3
    v5 = np.log(v4)

    x_dot = 1.0
    v1_dot = 2 * x * x_dot
    v2_dot = np.cos(v1) * v1_dot
    v3_dot = v3 * x_dot
    v4_dot = v2_dot + v3_dot
    v5_dot = v4_dot / v4

    v5_bar = 1.0
    v4_bar = v5_bar / v4
    v3_bar = v4_bar
    v2_bar = v4_bar
    v1_bar = v2_bar * np.cos(v1)
    x_bar = v1_bar * 2 * x + v3_bar * v3
    return v5, v5_dot, x_bar


def f(x):
    """The running example."""
    return np.log(np.sin(x**2) + np.exp(x))


def f_slope(x):
    """Its derivative, by pencil."""
    return (2 * x * np.cos(x**2) + np.exp(x)) / (np.sin(x**2) + np.exp(x))


value, forwards, backwards = list_by_hand(1.5)
assert np.isclose(value, f(1.5), rtol=1e-15)
assert np.allclose([forwards, backwards], f_slope(1.5), rtol=1e-14)
print(f" 1  f′(1.5) = {forwards:.12f} read forwards, {backwards:.12f} read backwards")

# ================================================================================================= 2. Dual numbers
#
# The forward reading need not be written by hand. Let numbers have a second part, a + b·ε with ε² = 0. Then
# (a + b·ε)(c + d·ε) = ac + (ad + bc)·ε is the product rule, and every function follows g(a + b·ε) = g(a) + g′(a)·b·ε.
# Python's operators can be overloaded, and np.sin(x) of an unknown object calls x.sin(), so the program stays as it is.


class DualNumber:
    """primal + tangent·ε, with ε² = 0."""

    def __init__(self, primal, tangent=0.0):
        self.primal, self.tangent = primal, tangent

    def __add__(self, other):
        other = other if isinstance(other, DualNumber) else DualNumber(other)
        return DualNumber(self.primal + other.primal, self.tangent + other.tangent)

    def __mul__(self, other):
        other = other if isinstance(other, DualNumber) else DualNumber(other)
        return DualNumber(self.primal * other.primal, self.primal * other.tangent + self.tangent * other.primal)

    def __pow__(self, n):
        return DualNumber(self.primal**n, n * self.primal ** (n - 1) * self.tangent)

    def sin(self):
        return DualNumber(np.sin(self.primal), np.cos(self.primal) * self.tangent)

    def exp(self):
        return DualNumber(np.exp(self.primal), np.exp(self.primal) * self.tangent)

    def log(self):
        return DualNumber(np.log(self.primal), self.tangent / self.primal)


y = f(DualNumber(1.5, 1.0))
assert np.isclose(y.primal, f(1.5), rtol=1e-15) and np.isclose(y.tangent, f_slope(1.5), rtol=1e-14)
print(f" 2  f(1.5 + ε) = {y.primal:.6f} + {y.tangent:.6f}ε")

# This is forward mode, complete. Three things are wrong with it. It works on numbers, not on arrays. Each derivative
# is hidden in a method, where no other reading can find it. And there is one ε, which section 6 will show to be too
# few. The rest of this file is a second attempt.

# ===================================================================================== 3. Dispatch follows the data
#
# When NumPy meets an object with a method `__array_ufunc__`, it hands the whole operation over; other functions of
# NumPy look for `__array_function__`. So a *traced array* can take part in an unchanged program. What it does with an
# operation depends on the reading that made it, so each belongs to a *trace*: one object per reading under way.
#
# `bind` applies an operation to anything. If all arguments are plain it computes. Otherwise the newest trace among the
# arguments takes over; it removes its own wrapping, binds again on what is inside (which may belong to older traces)
# and adds what its reading needs. That one sentence is the whole engine.

clock = itertools.count(1)  # of traces and of graph nodes: a later number is newer


class Trace:
    """One reading of a program, from the call of a transform until it returns."""

    def __init__(self):
        self.order = next(clock)
        self.closed = False

    def owns(self, value):
        return isinstance(value, TracedArray) and value._trace is self

    def shape(self, x):
        return shape_of(x._value)

    def run(self, function, *args):
        """Call the user's function, and close the trace: a traced array that escapes it becomes an error."""
        try:
            return function(*args)
        finally:
            self.closed = True


class TracedArray(np.lib.mixins.NDArrayOperatorsMixin):  # the mixin turns every operator into a ufunc
    """Stands where the program expects an array: a wrapped value, and what its trace adds to it."""

    __slots__ = ("_info", "_trace", "_value")

    def __init__(self, trace, value, info):
        self._trace, self._value, self._info = trace, value, info

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or kwargs or ufunc not in UFUNCS:
            raise TypeError(f"There is no derivative rule for {ufunc.__name__}.{method}.")
        return UFUNCS[ufunc](*inputs)

    def __array_function__(self, function, types, args, kwargs):
        if function not in FUNCTIONS:
            raise TypeError(f"There is no derivative rule for {function.__name__}.")
        return FUNCTIONS[function](*args, **kwargs)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("A plain array cannot carry a derivative; it would be lost without a word.")

    def __getitem__(self, index):
        return take(self, index=index if isinstance(index, tuple) else (index,))

    @property
    def shape(self):
        return self._trace.shape(self)


class Dual(TracedArray):
    """Forward: the value and its tangent."""


class Variable(TracedArray):
    """Reverse: the value and its place in a graph."""


class Batch(TracedArray):
    """vmap: an array with a hidden leading axis."""


class Symbol(TracedArray):
    """Staging: an example value and its name in a list."""


def bind(primitive, *args, **params):
    traces = [arg._trace for arg in args if isinstance(arg, TracedArray)]
    if not traces:
        return primitive.value(*args, **params)
    newest = max(traces, key=lambda trace: trace.order)
    if newest.closed:
        raise RuntimeError("A traced array was used after the transform that made it had returned.")
    return newest.process(primitive, args, params)


def shape_of(x):
    return x.shape if isinstance(x, TracedArray) else np.shape(x)


# A *primitive* is an operation with one derivative fact per argument slot, stated once; every reading derives what it
# needs from that. Two kinds are enough here. An elementwise operation states its partial derivatives, and says by the
# names of their parameters what they read, so that nothing else need be kept for later. A linear operation is its own
# derivative; it states its transpose. Rules are written in operations that bind, so they can be differentiated again.


class Primitive:
    """`reads(slot, arity)` lists what the rule of a slot reads, as positions in (arguments…, result)."""

    differentiable = True

    def __call__(self, *args, **params):
        return bind(self, *args, **params)


class Elementwise(Primitive):
    """out_dot = Σ x_dot · ∂out/∂x, and x_bar = ct · ∂out/∂x, summed to the shape of x where x was broadcast."""

    def __init__(self, ufunc, *partials):
        self.name, self.value, self.partials = ufunc.__name__, ufunc, partials
        UFUNCS[ufunc] = self

    def reads(self, slot, arity):
        rule = self.partials[slot]
        names = rule.__code__.co_varnames if callable(rule) else ()
        return [{"x": 0, "y": 1, "out": arity}[name] for name in names]

    def scale(self, slot, v, known):
        """v times the partial of this slot, which is a function, or ±1."""
        rule = self.partials[slot]
        if not callable(rule):
            return v if rule == 1 else -v
        return v * rule(*[known[k] for k in self.reads(slot, len(known) - 1)])

    def jvp(self, primals, tangents, out, params):
        terms = [self.scale(k, x_dot, (*primals, out)) for k, x_dot in enumerate(tangents) if x_dot is not None]
        return broadcast_to(functools.reduce(np.add, terms), shape=shape_of(out))

    def pullback(self, slot, ct, saved, into, params):
        return sum_to(self.scale(slot, ct, saved), shape=into)

    def batch(self, size, args, mapped, params):
        return aligned(self, size, args, mapped, params)


class Discrete(Elementwise):
    """No derivative: comparisons. Duals and Variables get plain results from it, which `if` can use."""

    differentiable = False


class Linear(Primitive):
    """Linear in each argument alone. `transpose[slot]` maps (ct, shape of that argument, the other arguments) to it."""

    def __init__(self, name, value, *, transpose, batch):
        self.name, self.value, self.transpose, self.batch_rule = name, value, transpose, batch

    def reads(self, slot, arity):
        return [k for k in range(arity) if k != slot]

    def jvp(self, primals, tangents, out, params):
        active = [k for k, x_dot in enumerate(tangents) if x_dot is not None]
        terms = [bind(self, *primals[:k], tangents[k], *primals[k + 1 :], **params) for k in active]
        return functools.reduce(np.add, terms)

    def pullback(self, slot, ct, saved, into, params):
        return self.transpose[slot](ct, into, *[saved[k] for k in self.reads(slot, len(saved) - 1)], **params)

    def batch(self, size, args, mapped, params):
        return self.batch_rule(self, size, args, mapped, params)


# Batch rules: how to apply an operation where the arguments that are `mapped` have one more axis in front.


def aligned(primitive, size, args, mapped, params):
    """For operations that broadcast: axes inserted after the batch axis, so that those of the members line up."""
    rank = max(len(shape_of(x)) - is_mapped for x, is_mapped in zip(args, mapped, strict=True))
    fill = [(1,) * (rank + 1 - len(shape_of(x))) for x in args]
    lined_up = [
        reshape(x, shape=(size, *ones, *shape_of(x)[1:])) if is_mapped else x
        for x, ones, is_mapped in zip(args, fill, mapped, strict=True)
    ]
    return bind(primitive, *lined_up, **params)


def trailing(primitive, size, args, mapped, params):
    """For operations that leave leading axes alone."""
    return bind(primitive, *args, **params)


def leading(primitive, size, args, mapped, params):
    """For operations whose params speak of all axes, as the shape of the result or an index."""
    more = {"shape": (size,), "index": (slice(None),)}
    return bind(primitive, *args, **{name: more[name] + value for name, value in params.items()})


# The table: a value and its derivative side by side. Nothing about these operations is said anywhere else.

UFUNCS, FUNCTIONS = {}, {}  # which of NumPy's ufuncs and functions mean which operations

Elementwise(np.add, 1, 1)
Elementwise(np.subtract, 1, -1)
Elementwise(np.multiply, lambda y: y, lambda x: x)
Elementwise(np.divide, lambda y: 1 / y, lambda y, out: -out / y)
Elementwise(np.negative, -1)
Elementwise(np.power, lambda x, y: y * x ** (y - 1), lambda x, out: out * np.log(x))
Elementwise(np.exp, lambda out: out)
Elementwise(np.log, lambda x: 1 / x)
Elementwise(np.sin, lambda x: np.cos(x))
Elementwise(np.cos, lambda x: -np.sin(x))
Elementwise(np.tanh, lambda x: 1 / np.cosh(x) ** 2)  # 1 − out² would lose digits in the tails
Elementwise(np.cosh, lambda x: np.sinh(x))
Elementwise(np.sinh, lambda x: np.cosh(x))
Elementwise(np.logaddexp, lambda x, out: np.exp(x - out), lambda y, out: np.exp(y - out))
for ufunc in (np.less, np.less_equal, np.greater, np.greater_equal):
    Discrete(ufunc)

reshape = Linear(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    transpose=[lambda ct, into, *, shape: reshape(ct, shape=into)],
    batch=leading,
)
# Copies along axes of length 1, and the sum that makes axes that short: each is the other's transpose.
stretch = Linear(
    "stretch",
    lambda x, *, shape: np.broadcast_to(x, shape),
    transpose=[lambda ct, into, *, shape: shrink(ct, shape=into)],
    batch=leading,
)
shrink = Linear(
    "shrink",
    lambda x, *, shape: np.sum(x, axis=tuple(np.flatnonzero(np.not_equal(np.shape(x), shape))), keepdims=True),
    transpose=[lambda ct, into, *, shape: stretch(ct, shape=into)],
    batch=leading,
)
# x[index], and its transpose, which sets a value at that index among zeros.
take = Linear(
    "take",
    lambda x, *, index: x[index],
    transpose=[lambda ct, into, *, index: put(ct, index=index, shape=into)],
    batch=leading,
)
put = Linear(
    "put",
    lambda x, *, index, shape: set_item(np.zeros(shape), index, x),
    transpose=[lambda ct, into, *, index, shape: take(ct, index=index)],
    batch=leading,
)
# C = A B for matrices, or stacks of them: Ā = C̄ Bᵀ and B̄ = Aᵀ C̄.
product = Linear(
    "matmul",
    np.matmul,
    transpose=[
        lambda ct, into, b: sum_to(product(ct, swap(b)), shape=into),
        lambda ct, into, a: sum_to(product(swap(a), ct), shape=into),
    ],
    batch=aligned,
)
swap = Linear("swap", lambda x: np.swapaxes(x, -2, -1), transpose=[lambda ct, into: swap(ct)], batch=trailing)


def set_item(array, index, value):
    array[index] = value
    return array


def broadcast_to(x, *, shape):
    lead = (1,) * (len(shape) - len(shape_of(x)))
    return x if shape_of(x) == shape else stretch(reshape(x, shape=lead + shape_of(x)), shape=shape)


def sum_to(x, *, shape):
    """Sum over the axes along which `shape` was broadcast to that of `x`: the transpose of broadcast_to."""
    lead = (1,) * (len(shape_of(x)) - len(shape))
    return x if shape_of(x) == shape else reshape(shrink(x, shape=lead + shape), shape=shape)


def matmul(a, b):
    """A vector is a matrix of one row on the left of a product, and of one column on the right."""
    m, n = shape_of(a), shape_of(b)
    out = product(a if len(m) > 1 else reshape(a, shape=(1, *m)), b if len(n) > 1 else reshape(b, shape=(*n, 1)))
    *stack, rows, columns = shape_of(out)
    return reshape(out, shape=(*stack, *(rows,) * (len(m) > 1), *(columns,) * (len(n) > 1)))


UFUNCS[np.matmul] = matmul
FUNCTIONS[np.sum] = lambda x: sum_to(x, shape=())
FUNCTIONS[np.mean] = lambda x: np.sum(x) / math.prod(shape_of(x))

assert UFUNCS[np.exp](0.0) == 1.0  # among plain values there is no trace, and a primitive just computes
print(f" 3  {len(UFUNCS)} ufuncs mean operations here, and each derivative is stated once")

# ================================================================================================ 4. Forward mode
#
# A forward trace computes on the primals, and asks the primitive for the tangent of the result. Both steps bind, so
# primals and tangents may themselves be traced by older traces. The price is that of the function two or three times,
# whatever the number of outputs, per direction v in the product J v.


class ForwardTrace(Trace):
    def process(self, primitive, args, params):
        primals = [arg._value if self.owns(arg) else arg for arg in args]
        tangents = [arg._info if self.owns(arg) else None for arg in args]
        out = bind(primitive, *primals, **params)
        if not primitive.differentiable:
            return out
        return Dual(self, out, primitive.jvp(primals, tangents, out, params))


def jvp(function, primals, tangents):
    """f(x), and J v: the derivative of `function` at `primals` in the direction `tangents`."""
    trace = ForwardTrace()
    out = trace.run(function, *[Dual(trace, x, x_dot) for x, x_dot in zip(primals, tangents, strict=True)])
    return (out._value, out._info) if trace.owns(out) else (out, np.zeros(shape_of(out)))


value, slope = jvp(f, (1.5,), (1.0,))
assert np.isclose(slope, f_slope(1.5), rtol=1e-14)
matrix, x, v = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([0.3, -0.7]), np.array([1.0, 0.5])
value, pushed = jvp(lambda x: matrix @ np.tanh(x), (x,), (v,))
assert np.allclose(pushed, matrix @ (v / np.cosh(x) ** 2), rtol=1e-14)
assert jvp(lambda x: x if x > 0 else -x, (-2.0,), (1.0,)) == (2.0, -1.0)  # control flow is Python's own
print(f" 4  jvp: f′(1.5) = {slope:.12f}, J v = {pushed}")

# ================================================================================================ 5. Reverse mode
#
# A reverse trace writes down, while the program runs, a graph of what was done: one node per operation, with its
# parents and those values that the pullbacks will read. Afterwards one sweep from the newest node to the oldest turns
# the cotangent of the result into those of all inputs: a gradient costs a small multiple of the function, however many
# inputs there are. The sweep is a loop, not a recursion, so that the depth of the graph is bounded by memory alone.


class Node:
    """One recorded operation: its edges are (slot, node of the argument there, shape of that argument)."""

    __slots__ = ("edges", "order", "params", "primitive", "saved")

    def __init__(self, primitive=None, params=None, edges=(), saved=()):
        self.order = next(clock)
        self.primitive, self.params, self.edges, self.saved = primitive, params, edges, saved


class ReverseTrace(Trace):
    def process(self, primitive, args, params):
        values = [arg._value if self.owns(arg) else arg for arg in args]
        out = bind(primitive, *values, **params)
        if not primitive.differentiable:
            return out
        active = [slot for slot, arg in enumerate(args) if self.owns(arg)]
        kept = {k for slot in active for k in primitive.reads(slot, len(args))}
        saved = [value if k in kept else None for k, value in enumerate((*values, out))]
        edges = [(slot, args[slot]._info, shape_of(values[slot])) for slot in active]
        return Variable(self, out, Node(primitive, params, edges, saved))


def reachable(root):
    """All nodes that `root` depends on, newest first."""
    found, seen = [root], {root}
    for node in found:  # grows while it is walked
        for _, parent, _ in node.edges:
            if parent not in seen:
                seen.add(parent)
                found.append(parent)
    return sorted(found, key=lambda node: -node.order)


def sweep(root, ct):
    """The cotangents of the leaves, from that of `root`."""
    cts, leaves = {root: ct}, {}
    for node in reachable(root):
        ct = cts.pop(node)
        if node.primitive is None:
            leaves[node] = ct
        for slot, parent, into in node.edges:
            bar = node.primitive.pullback(slot, ct, node.saved, into, node.params)
            cts[parent] = cts[parent] + bar if parent in cts else bar
    return leaves


def vjp(function, *primals):
    """f(x), and the pullback ct ↦ Jᵀ ct, a tuple with one cotangent per argument."""
    trace = ReverseTrace()
    inputs = [Variable(trace, x, Node()) for x in primals]
    out = trace.run(function, *inputs)

    def pullback(ct):
        leaves = sweep(out._info, ct) if trace.owns(out) else {}
        return tuple(leaves.get(x._info, np.zeros(shape_of(x._value))) for x in inputs)

    return (out._value if trace.owns(out) else out), pullback


def grad(function):
    """The gradient of a function of one array that returns one number."""

    def gradient(x):
        out, pullback = vjp(function, x)
        if shape_of(out) != ():
            raise TypeError(f"A gradient is that of one number, and the function returned shape {shape_of(out)}.")
        return pullback(1.0)[0]

    return gradient


def repeated_sine(x):
    for _ in range(50_000):
        x = np.sin(x)
    return x


assert np.isclose(grad(f)(1.5), f_slope(1.5), rtol=1e-14)
value, pullback = vjp(lambda a, x: a @ np.tanh(x), matrix, x)
matrix_bar, x_bar = pullback(v)
assert np.allclose(matrix_bar, np.outer(v, np.tanh(x)), rtol=1e-14)
assert np.allclose(x_bar, (v @ matrix) / np.cosh(x) ** 2, rtol=1e-14)
assert np.isclose(x_bar @ v, v @ pushed, rtol=1e-14)  # ⟨Jᵀ v, v⟩ = ⟨v, J v⟩
assert 0 < grad(repeated_sine)(1.0) < 1e-3  # 50 000 lines deep
print(f" 5  grad: f′(1.5) = {grad(f)(1.5):.12f}, Jᵀ v = {x_bar}")

# ================================================================================== 6. Nesting without confusion
#
# A derivative may be taken inside a function that is being differentiated. Consider d/dx [x · d/dy (x + y)] at (1, 1).
# The inner derivative is 1, whatever x is, so the whole is d/dx x = 1. With a single ε both derivatives write into the
# same second part: the inner one reads off the outer one's tangent as well, and the answer is 2. Nothing warns.


def tangent(function, x):
    return function(DualNumber(x, 1.0)).tangent


def confused(x):
    return x * tangent(lambda y: x + y, 1.0)


assert tangent(confused, 1.0) == 2.0  # wrong

# With traces nothing special has to be done. The inner call makes a newer trace; x belongs to the older one, and so is
# a constant to it; the inner result is a value of the older trace, which goes on from there. Any nesting is right, of
# either mode in the other. What could still go wrong is a traced value that outlives its trace, which `bind` refuses.


def slope_forwards(function):
    return lambda x: jvp(function, (x,), (1.0,))[1]


for outer in (slope_forwards, grad):
    for inner in (slope_forwards, grad):
        assert outer(lambda x, inner=inner: x * inner(lambda y: x + y)(1.0))(1.0) == 1.0
        assert np.isclose(outer(inner(outer(np.sin)))(0.4), -np.cos(0.4), rtol=1e-14)
leaked = []
grad(lambda x: leaked.append(x) or x)(1.0)
try:
    np.sin(leaked[0])
except RuntimeError as error:
    escape = str(error)
assert "returned" in escape
nested = grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0)
print(f" 6  d/dx [x · d/dy (x + y)] is {nested:.0f} with traces, and {tangent(confused, 1.0):.0f} with a single ε")

# ================================================================================================ 7. Many at once
#
# A third reading knows no calculus. A Batch is an array with a hidden leading axis; the function sees one member, and
# each operation is applied to all of them at once. As it binds like the others it nests with them: a batch of
# gradients, or the gradient of something batched. A Jacobian is a batch of pushforwards along the basis vectors.


class BatchTrace(Trace):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def shape(self, x):
        return shape_of(x._value)[1:]

    def process(self, primitive, args, params):
        mapped = [self.owns(arg) for arg in args]
        values = [arg._value if is_mapped else arg for arg, is_mapped in zip(args, mapped, strict=True)]
        return Batch(self, primitive.batch(self.size, values, mapped, params), None)


def vmap(function):
    """`function`, mapped over the first axis of its arguments and results."""

    def mapped(*arrays):
        trace = BatchTrace(shape_of(arrays[0])[0])
        out = trace.run(function, *[Batch(trace, array, None) for array in arrays])
        return out._value if trace.owns(out) else broadcast_to(out, shape=(trace.size, *shape_of(out)))

    return mapped


def jacfwd(function):
    return lambda x: swap(vmap(lambda v: jvp(function, (x,), (v,))[1])(np.eye(shape_of(x)[0])))


points = np.linspace(-1.0, 2.0, 7)
assert np.allclose(vmap(grad(f))(points), f_slope(points), rtol=1e-13)
jacobian = matrix / np.cosh(x) ** 2
assert np.allclose(jacfwd(lambda x: matrix @ np.tanh(x))(x), jacobian, rtol=1e-14)
_, pullback = vjp(lambda x: matrix @ np.tanh(x), x)
assert np.allclose(vmap(lambda ct: pullback(ct)[0])(np.eye(2)), jacobian, rtol=1e-14)  # the same, row by row
norms = vmap(lambda a, x: np.sum((a @ x) ** 2))(np.stack([matrix, 2 * matrix]), np.stack([x, x]))
assert np.allclose(norms, np.array([1.0, 4.0]) * np.sum((matrix @ x) ** 2), rtol=1e-14)
print(f" 7  vmap: f′ at {len(points)} points in one sweep, a Jacobian in one pass: {jacobian.round(3).tolist()}")

# ================================================================================================ 8. The list itself
#
# The fourth reading writes the list down. A Symbol has a name and an example value (so that branches can be taken);
# each operation adds an equation. The list can be printed, and it can be read again: evaluating it binds line by line,
# so a list may be differentiated or batched like any other function.


class Equation:
    """One line, `output = primitive(inputs, **params)`: each input is a name or a constant."""

    def __init__(self, primitive, inputs, params, output, shape):
        self.primitive, self.inputs, self.params, self.output, self.shape = primitive, inputs, params, output, shape

    def __str__(self):
        names = [x if isinstance(x, str) else f"<array {x.shape}>" if np.ndim(x) else f"{x:.6g}" for x in self.inputs]
        return f"{self.output} = {self.primitive.name}({', '.join(names)})"


class WengertList:
    """A straight-line program: the names of its inputs, its equations, and what it returns, a name or a constant."""

    def __init__(self, inputs):
        self.inputs, self.equations, self.output = inputs, [], None

    def __call__(self, *args):
        env = dict(zip(self.inputs, args, strict=True))
        for eqn in self.equations:
            inputs = [env[atom] if isinstance(atom, str) else atom for atom in eqn.inputs]
            env[eqn.output] = bind(eqn.primitive, *inputs, **eqn.params)
        return env[self.output] if isinstance(self.output, str) else self.output

    def __str__(self):
        return "\n".join(f"      {line}" for line in (*self.equations, f"return {self.output}"))


class StageTrace(Trace):
    def __init__(self, inputs):
        super().__init__()
        self.program = WengertList(inputs)

    def atom(self, value):
        return value._info if self.owns(value) else value

    def process(self, primitive, args, params):
        example = bind(primitive, *[arg._value if self.owns(arg) else arg for arg in args], **params)
        name, inputs = f"v{len(self.program.equations) + 1}", [self.atom(arg) for arg in args]
        self.program.equations.append(Equation(primitive, inputs, params, name, shape_of(example)))
        return Symbol(self, example, name)


def trace(function):
    """A function that returns the Wengert list of `function`, staged with example arguments."""

    def staged(*examples):
        stage = StageTrace([f"x{k}" for k in range(1, len(examples) + 1)])
        symbols = [Symbol(stage, x, name) for x, name in zip(examples, stage.program.inputs, strict=True)]
        stage.program.output = stage.atom(stage.run(function, *symbols))
        return stage.program

    return staged


program = trace(f)(1.5)
assert len(program.equations) == 5 and str(program.equations[-1]) == "v5 = log(v4)"
assert program(0.7) == f(0.7) and np.isclose(grad(program)(0.7), f_slope(0.7), rtol=1e-14)
print(f" 8  the Wengert list of ln(sin x² + eˣ):\n{program}")

# =============================================================== 9. Reverse mode is forward mode, transposed
#
# Run a function on Duals whose tangents are Symbols. The primals are computed at once; what is left on the list is how
# the result's tangent follows from the inputs', with all partial derivatives as constants: a linear program, the
# derivative at this point. Read forwards it is the pushforward. Each of its lines has a transpose; read backwards,
# with transposes, it is the pullback. The graph of section 5 is this list in another form, and the library derives the
# pullback of every primitive that states no transpose in just this way.


def linearize(function, x):
    """f(x), and the linear list that maps tangents of x to tangents of f(x)."""
    stage = StageTrace(["x_dot"])
    out, out_dot = stage.run(jvp, function, (x,), (Symbol(stage, np.zeros(shape_of(x)), "x_dot"),))
    stage.program.output = stage.atom(out_dot)
    return out, stage.program


def transpose(linear, x, ct):
    """Read a linear list backwards: from the cotangent of its output to that of its input, which is shaped like x."""
    shapes = {"x_dot": shape_of(x)} | {eqn.output: eqn.shape for eqn in linear.equations}
    cts = {linear.output: ct}
    for eqn in reversed(linear.equations):
        if eqn.output not in cts:
            continue  # nothing that is returned depends on this line
        ct = cts.pop(eqn.output)
        known = [None if isinstance(atom, str) else atom for atom in (*eqn.inputs, eqn.output)]
        for slot, atom in enumerate(eqn.inputs):
            if isinstance(atom, str):
                bar = eqn.primitive.pullback(slot, ct, known, shapes[atom], eqn.params)
                cts[atom] = cts[atom] + bar if atom in cts else bar
    return cts["x_dot"]


value, pushforward = linearize(f, 1.5)
assert np.isclose(pushforward(1.0), f_slope(1.5), rtol=1e-14)
assert np.isclose(transpose(pushforward, 1.5, 1.0), f_slope(1.5), rtol=1e-14)
_, pushforward_of_layer = linearize(lambda x: matrix @ np.tanh(x), x)
assert np.allclose(transpose(pushforward_of_layer, x, v), x_bar, rtol=1e-14)
print(f" 9  its derivative at 1.5, a linear list:\n{pushforward}")

# =========================================================================================== 10. Second derivatives
#
# Nothing new is needed. The Hessian is the Jacobian of the gradient, forward over reverse; its product with a vector
# is one pushforward of the gradient, and never forms the matrix.


def hessian(function):
    return jacfwd(grad(function))


def hvp(function, x, v):
    return jvp(grad(function), (x,), (v,))[1]


def rosenbrock(p):
    x, y = p
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


p = np.array([-1.2, 1.0])
exact = np.array([[2 - 400 * (p[1] - 3 * p[0] ** 2), -400 * p[0]], [-400 * p[0], 200]])
assert np.allclose(hessian(rosenbrock)(p), exact, rtol=1e-13)
assert np.allclose(hvp(rosenbrock, p, v), exact @ v, rtol=1e-13)
assert np.isclose(grad(grad(grad(lambda x: x**5)))(2.0), 60 * 2.0**2, rtol=1e-14)
print(f"10  the Hessian of Rosenbrock's function at {p.tolist()}: {hessian(rosenbrock)(p).tolist()}")

# ======================================================================================= 11. A small model, trained
#
# Logistic regression: labels ±1, and the mean of ln(1 + exp(−label · score)) to be made small. It is convex, so
# Newton's method with the exact Hessian arrives in a handful of steps.

rng = np.random.default_rng(0)
features = np.column_stack([rng.standard_normal((400, 2)), np.ones(400)])
truth = np.array([2.0, -1.0, 0.5])
labels = np.where(features @ truth + rng.logistic(size=400) > 0, 1.0, -1.0)


def loss(w):
    return np.mean(np.logaddexp(0.0, -labels * (features @ w)))


def by_pencil(w):
    return -features.T @ (labels / (1 + np.exp(labels * (features @ w)))) / labels.size


w, steps = np.zeros(3), 0
assert np.allclose(grad(loss)(w), by_pencil(w), rtol=1e-13)
while np.linalg.norm(grad(loss)(w)) > 1e-12:
    w, steps = w - np.linalg.solve(hessian(loss)(w), grad(loss)(w)), steps + 1
accuracy = np.mean(np.sign(features @ w) == labels)
assert np.linalg.norm(by_pencil(w)) < 1e-12 and steps < 10 and accuracy > 0.7
print(f"11  Newton's method: loss {loss(np.zeros(3)):.4f} → {loss(w):.4f} in {steps} steps, accuracy {accuracy:.0%}")

# What the library adds to these ideas is care: every NumPy function of its families, with partials that are accurate
# in the tails and finite wherever the derivative is; a zero cotangent that stays zero beside an infinite partial;
# dtypes, scalars, and Python numbers that stay weak; in-place assignment and views; containers; residuals that notice
# when their array was changed; errors that name the remedy; the eager face with `backward`; a recording path without
# closures. The sentence in section 3 about `bind` is the engine there, too. See architecture.md beside this file.
