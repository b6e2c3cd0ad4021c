"""The tensor form run naively over NumPy arrays: what each of its stages is compared with.

Memory that was not written yet holds garbage, loops run in no particular order, threads' parts run from the last to
the first, and scratch lies in one arena where the program has been planned: so what a stage may not rely on fails.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided
from scipy.linalg import lu_factor

from wengert.compile.machine import scalars
from wengert.compile.tensors.form import (
    Accumulate,
    Control,
    Expr,
    Host,
    Loop,
    Nest,
    Product,
    Store,
    Update,
    View,
    change_loop,
)
from wengert.compile.tensors.split import PARTS


def interpret(program, leaves):
    """The results of a program on arrays, flat; None where a guard fails or an index is out of bounds."""
    ins = [np.array(leaf, buffer.dtype).reshape(-1) for leaf, buffer in zip(leaves, program.inputs, strict=True)]
    before = [x.copy() for x in ins]
    outs = [garbage(buffer.dtype, buffer.size) for buffer in program.outputs]
    try:
        with np.errstate(all="ignore"):
            run(program, ins, outs)
    except Failed:
        return None
    for x, old in zip(ins, before, strict=True):
        assert x.tobytes() == old.tobytes(), "an input was written"
    return outs


class Failed(Exception):
    """A guard does not hold, or an index is out of bounds."""


def garbage(dtype, size):
    """Memory that nobody has written: NaN, or a number that nobody would expect."""
    if dtype.kind == "c":
        return np.full(size, complex(np.nan, np.nan), dtype)
    return np.full(size, {"f": np.nan, "b": True}.get(dtype.kind, 113), dtype)


def run(program, ins, outs):
    memory = dict(zip(program.inputs, ins, strict=True))
    memory.update(zip(program.outputs, outs, strict=True))
    memory.update((buffer, np.ascontiguousarray(buffer.value).reshape(-1)) for buffer in program.constants)
    arena = np.full(program.arena_size + 64, 0xA5, np.uint8)
    for buffer, start in program.arena.items():
        # as much as the plan knows of: all of it, or of local memory one row for each part
        size = max(rooms(program).get(buffer, buffer.size), 1)
        memory[buffer] = arena[start : start + size * buffer.dtype.itemsize].view(buffer.dtype)
    for node in program.nodes:
        for buffer in (*node.reads(), *node.writes()):
            if buffer not in memory:
                memory[buffer] = garbage(buffer.dtype, max(buffer.size, 1))
        NODES[type(node)](node, memory)
    for view, value in program.guards:
        if seen(memory, view).tobytes() != np.asarray(value, view.buffer.dtype).tobytes():
            raise Failed


def rooms(program):
    return {
        buffer: (1 if node.parts is None else PARTS) * (buffer.size // node.length)
        for node in program.nodes
        if isinstance(node, Nest)
        for buffer in node.local
    }


def seen(memory, view):
    """The elements of a view, as a NumPy view of them."""
    data = memory[view.buffer]
    if view.size == 0:
        return np.empty(view.shape, data.dtype)
    low = view.offset + sum(s * (n - 1) for n, s in zip(view.shape, view.strides, strict=True) if s < 0)
    high = view.offset + sum(s * (n - 1) for n, s in zip(view.shape, view.strides, strict=True) if s > 0)
    assert 0 <= low <= high < len(data), f"{view} reaches outside of {len(data)} elements"
    return as_strided(data[view.offset :], view.shape, [s * data.itemsize for s in view.strides])


# ------------------------------------------------------------------------------------------------------------- loops


def run_loop(loop, memory):
    """All of a loop, from the neutral elements of what it accumulates on."""
    for effect in loop.effects:
        if isinstance(effect, Accumulate):
            seen(memory, effect.view)[...] = scalars.identity(effect.how, effect.view.buffer.dtype)
    if not loop.ordered:
        turn(loop, memory)
        return
    for position in np.ndindex(loop.shape):
        one = loop
        for axis, i in enumerate(position):
            one = sliced(one, axis, i, ())
        turn(one, memory)


def turn(loop, memory):
    """The effects of a loop, on memory that is begun."""
    values = evaluate(loop, memory)
    if not loop.ordered:
        assert not set(loop.reads()) & set(loop.writes()), "a loop in any order reads what it writes"
    for effect in loop.effects:
        value = np.broadcast_to(values[effect.value], loop.shape)
        target = None if isinstance(effect, Update) and effect.indices else seen(memory, effect.view)
        dtype = effect.view.buffer.dtype
        assert value.dtype == dtype or effect.value.aval.weak, f"{value.dtype} stored as {dtype}"
        if isinstance(effect, Accumulate):
            kept = tuple(k for k, s in enumerate(effect.view.strides) if s == 0 and loop.shape[k] != 1)
            ufunc = getattr(np, effect.how)
            total = ufunc.reduce(value, axis=kept, keepdims=True) if kept else value
            first = target[(*(slice(0, 1) if k in kept else slice(None) for k in range(target.ndim)), ...)]
            first[...] = ufunc(first, total.astype(dtype))
        elif target is None:
            scatter(effect, [np.broadcast_to(values[i], loop.shape) for i in effect.indices], value, memory)
        else:
            assert distinct(effect.view), f"{effect.view} is written twice"
            how = None if isinstance(effect, Store) else effect.how
            target[...] = value if how is None else getattr(np, how)(target, value)


def distinct(view):
    places = seen({view.buffer: np.arange(view.buffer.size)}, view)
    return len(np.unique(places)) == places.size


def scatter(effect, indices, value, memory):
    data = memory[effect.view.buffer]
    places = seen({effect.view.buffer: np.arange(effect.view.buffer.size)}, effect.view).reshape(-1)
    moves = sum(
        (positions(i, n, effect.check) * s for i, n, s in zip(indices, effect.lengths, effect.strides, strict=True)),
        np.zeros(value.shape, np.int64),
    )
    for place, one in zip((places + moves.reshape(-1)), value.reshape(-1), strict=True):
        data[place] = one if effect.how is None else getattr(np, effect.how)(data[place], one)


def positions(index, length, check):
    index = np.asarray(index).astype(np.int64)
    if check:
        index = np.where(index < 0, index + length, index)
        if ((index < 0) | (index >= length)).any():
            raise Failed
    return index


def evaluate(loop, memory):
    """The values of a loop's expressions, each over all of its index space."""
    values = {}
    for e in loop.exprs():
        if e.op == "const":
            values[e] = np.asarray(e.data, None if e.aval.weak else e.aval.dtype)
        elif e.op == "load":
            assert e.data.shape == loop.shape, f"{e.data} is read in a loop over {loop.shape}"
            values[e] = seen(memory, e.data).copy()
        elif e.op == "index":
            shape = [n if k == e.data else 1 for k, n in enumerate(loop.shape)]
            values[e] = np.broadcast_to(np.arange(loop.shape[e.data]).reshape(shape), loop.shape)
        elif e.op == "part":
            values[e] = values[e.args[0]][e.data]
        elif e.op == "gather":
            base, strides, lengths, check = e.data
            size = base.buffer.size
            places = seen({base.buffer: np.arange(size)}, base)
            for arg, stride, length in zip(e.args, strides, lengths, strict=True):
                places = places + positions(values[arg], length, check) * stride
            data = memory[base.buffer]
            values[e] = data[places]
        else:
            values[e] = applied(e, [values[arg] for arg in e.args])
    return values


def applied(e, args):
    """A primitive of arrays; weak numbers take the dtype of the others, as Python numbers do."""
    primitive, params, avals = e.data
    strong = [aval.dtype for aval in avals if not aval.weak]
    if strong and len(strong) < len(avals):
        given = []
        for arg, aval in zip(args, avals, strict=True):
            number = {"f": 0.0, "c": 0j, "b": False}.get(aval.dtype.kind, 0)
            given.append(arg.astype(np.result_type(*strong, number)) if aval.weak else arg)
        args = given
    found = primitive.value(*args, **params)
    if primitive.multiple:
        return [np.asarray(x).astype(aval.dtype) for x, aval in zip(found, e.aval, strict=True)]
    return np.asarray(found).astype(e.aval.dtype)


# ------------------------------------------------------------------------------------------------------------- nests


def at(view, axis, position, is_local):
    """A view at one position of an axis, which stays with length 1."""
    shape = tuple(1 if k == axis else n for k, n in enumerate(view.shape))
    return View(view.buffer, shape, view.strides, view.offset + (0 if is_local else position * view.strides[axis]))


def run_nest(nest, memory):
    """Each part on its own share of the scratch memory; what all of them accumulate is combined in the end."""
    bounds = [0, nest.length] if nest.parts is None else [nest.length * p // PARTS for p in range(PARTS + 1)]
    parts = nest.parts or {}
    for p in reversed(range(len(bounds) - 1)):
        mine = dict(memory)
        for buffer, shares in parts.items():
            mine[buffer] = share(memory[shares], p, buffer.size)
            mine[buffer][...] = garbage(buffer.dtype, buffer.size)
        for buffer in nest.local:
            mine[buffer] = share(memory[buffer], p, buffer.size // nest.length)
        run_part(nest, mine, bounds[p], bounds[p + 1])
    for loop in nest.loops:
        for effect in loop.effects:
            if isinstance(effect, Accumulate) and effect.view.buffer in parts:
                buffer = effect.view.buffer
                shares = memory[parts[buffer]][: PARTS * buffer.size].reshape(PARTS, -1)
                memory[buffer][...] = getattr(np, effect.how).reduce(shares, axis=0).astype(buffer.dtype)


def share(data, number, size):
    found = data[number * size : (number + 1) * size]
    assert len(found) == size, "there is no room for the shares of all parts"
    return found


def run_part(nest, memory, first, end):
    for loop, axis in zip(nest.loops, nest.axes, strict=True):
        for effect in loop.effects:
            if isinstance(effect, Accumulate) and not effect.view.strides[axis]:
                seen(memory, effect.view)[...] = scalars.identity(effect.how, effect.view.buffer.dtype)
    for position in range(first, end):
        for buffer in nest.local:
            memory[buffer][...] = garbage(buffer.dtype, len(memory[buffer]))
        for loop, axis in zip(nest.loops, nest.axes, strict=True):
            row = sliced(loop, axis, position, nest.local)
            for effect, whole in zip(row.effects, loop.effects, strict=True):
                if isinstance(effect, Accumulate) and whole.view.strides[axis]:
                    seen(memory, effect.view)[...] = scalars.identity(effect.how, effect.view.buffer.dtype)
            turn(row, memory)


def sliced(loop, axis, position, local):
    def leaf(e):
        if e.op == "load":
            return Expr("load", e.aval, (), at(e.data, axis, position, e.data.buffer in local))
        return Expr("const", e.aval, (), position) if e.op == "index" and e.data == axis else None

    shape = tuple(1 if k == axis else n for k, n in enumerate(loop.shape))
    changed = change_loop(loop, shape, leaf, lambda view: at(view, axis, position, view.buffer in local))
    gathers = {}
    for e in changed.exprs():
        if e.op == "gather" and e not in gathers:
            base, *rest = e.data
            gathers[e] = Expr("gather", e.aval, e.args, (at(base, axis, position, False), *rest))
    return change_loop(changed, shape, gathers.get, lambda view: view) if gathers else changed


# ------------------------------------------------------------------------------------------------------- other nodes


def run_product(node, memory):
    seen(memory, node.out)[...] = seen(memory, node.one) @ seen(memory, node.other)


def run_host(node, memory):
    args = []
    for given, aval in zip(node.ins, node.in_avals, strict=True):
        if not isinstance(given, View):
            args.append(given)
        else:
            value = seen(memory, given).copy()
            args.append(value.item() if aval.weak else value[()] if aval.scalar else value)
    found = node.primitive.value(*args, **node.params)
    for out, value in zip(node.outs, found if node.primitive.multiple else (found,), strict=True):
        seen(memory, out)[...] = value


def run_control(node, memory):
    ins = [seen(memory, view).reshape(-1) for view in node.ins]
    for view in node.scratch:
        memory.setdefault(view.buffer, garbage(view.buffer.dtype, max(view.buffer.size, 1)))
    outs = KINDS[node.kind](node, ins)
    for view, value in zip(node.outs, outs, strict=True):
        seen(memory, view).reshape(-1)[...] = value


def call(body, ins):
    outs = [garbage(buffer.dtype, buffer.size) for buffer in body.outputs]
    run(body, [np.array(x, buffer.dtype) for x, buffer in zip(ins, body.inputs, strict=True)], outs)
    return outs


def scan(node, ins):
    consts, carry, length = node.params["consts"], node.params["carry"], node.params["length"]
    state, xs = ins[consts : consts + carry], ins[consts + carry :]
    ys = [garbage(view.buffer.dtype, view.size).reshape(length, -1) for view in node.outs[carry:]]
    for i in reversed(range(length)) if node.params["reverse"] else range(length):
        outs = call(node.bodies[0], [*ins[:consts], *state, *(x.reshape(length, -1)[i] for x in xs)])
        state = outs[:carry]
        for y, value in zip(ys, outs[carry:], strict=True):
            y[i] = value
    return [*state, *(y.reshape(-1) for y in ys)]


def repeat(node, ins):
    n_test, n_body = node.params["test_consts"], node.params["body_consts"]
    return states(node, ins[:n_test], ins[n_test : n_test + n_body], ins[n_test + n_body :])[-1]


def states(node, test_consts, body_consts, state):
    found = [state]
    while call(node.bodies[0], [*test_consts, *found[-1]])[0][0]:
        found.append(call(node.bodies[1], [*body_consts, *found[-1]]))
    return found


def go_back(node, ins):
    n_test, n_body, carry = (node.params[key] for key in ("test_consts", "body_consts", "carry"))
    consts, start = ins[n_test : n_test + n_body], ins[n_test + n_body : n_test + n_body + carry]
    cts = ins[n_test + n_body + carry :]
    for state in reversed(states(node, ins[:n_test], consts, start)[:-1]):
        kept = [x if k in node.params["kept"] else garbage(x.dtype, len(x)) for k, x in enumerate(state)]
        cts = call(node.bodies[2], [*consts, *kept, *cts])
    return cts


def choose(node, ins):
    index = min(max(int(ins[0][0]), 0), len(node.bodies) - 1)
    return call(node.bodies[index], ins[1:])


def factor(node, ins):
    """Matrices as Fortran has them, worked on in place; what NumPy refuses fails."""
    n, kind = node.params["n"], node.kind
    a = np.swapaxes(ins[0].reshape(-1, n, n), 1, 2)
    try:
        if kind == "solve":
            b = np.swapaxes(ins[1].reshape(len(a), node.params["columns"], n), 1, 2)
            return [garbage(a.dtype, a.size), np.swapaxes(np.linalg.solve(a, b), 1, 2).reshape(-1)]
        if kind == "lu":
            pairs = [lu_factor(matrix) for matrix in a]
            parity = [(-1.0) ** np.count_nonzero(pivots != np.arange(n)) for _, pivots in pairs]
            return [np.swapaxes([found for found, _ in pairs], 1, 2).reshape(-1), np.array(parity)]
        found = np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        raise Failed from None
    return [(np.swapaxes(found, 1, 2) if kind == "lower" else found.conj()).reshape(-1)]


KINDS = {"scan": scan, "while": repeat, "while_pullback": go_back, "cond": choose}
KINDS.update(dict.fromkeys(("solve", "lu", "lower", "upper"), factor))
NODES = {Loop: run_loop, Nest: run_nest, Product: run_product, Host: run_host, Control: run_control}
__all__ = ["garbage", "interpret", "rooms"]
