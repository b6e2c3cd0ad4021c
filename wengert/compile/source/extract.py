"""The source of Python functions, made to stand alone.

The value of a primitive is a small function of NumPy. One that only returns an expression is written into the line
that calls it; any other becomes a helper function of the module, with the functions that it calls.
"""

from __future__ import annotations

import ast
import builtins
import copy
import functools
import inspect
import linecache
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from wengert import core

# Functions of the engine that mean something simpler where nothing is traced
STAND_INS: Final[dict[Any, str]] = {
    core.aval_of: 'def aval_of(x):\n    """Shape and dtype of any value."""\n    return np.asarray(x)',
    core.is_traced: "def is_traced(x):\n    return False",
}
Reference = Callable[[Any], str]  # an object → an expression for it


class NoSource(Exception):
    """A function whose source cannot be had, or not made to stand alone."""


@functools.lru_cache(maxsize=64)
def _definitions(file: str) -> dict[int, list[Any]]:
    """The functions and lambdas of a file, by the line on which they start."""
    found: dict[int, list[Any]] = {}
    for node in ast.walk(ast.parse("".join(linecache.getlines(file)))):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            found.setdefault(first, []).append(node)
    return found


def definition(function: types.FunctionType) -> ast.FunctionDef | ast.Lambda:
    """The syntax tree of a function, which is not to be changed."""
    code = function.__code__
    names = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    try:
        nodes = _definitions(inspect.getsourcefile(function) or code.co_filename).get(code.co_firstlineno, [])
    except (OSError, TypeError, SyntaxError) as error:
        raise NoSource(str(error)) from error
    found = {}
    for node in nodes:
        arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if arguments == names and getattr(node, "name", "<lambda>") == code.co_name:
            found[ast.dump(node)] = node
    if len(found) > 1:  # lambdas on one line: the columns of the code tell
        found = {key: node for key, node in found.items() if _holds(node.body, code)}
    if len(found) != 1:
        raise NoSource(f"no single definition of {function.__qualname__} at {code.co_filename}:{code.co_firstlineno}")
    (node,) = found.values()
    return node  # type: ignore[no-any-return]


def _holds(body: Any, code: types.CodeType) -> bool:
    """Whether the instructions of a lambda stand within this expression."""
    start, stop = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    spans = [span for span in code.co_positions() if None not in span and span[3]]
    return bool(spans) and all(start <= (a, c) and (b, d) <= stop for a, b, c, d in spans)


def name_in_numpy(value: Any) -> str | None:
    """How NumPy's own functions, ufuncs, their methods, and types are reached from `np`."""
    owner = getattr(value, "__self__", None)
    if type(owner) is np.ufunc:
        inner = name_in_numpy(owner)
        return inner and f"{inner}.{value.__name__}"
    name = getattr(value, "__name__", None)
    for path, module in _HOMES:
        if name is not None and vars(module).get(name) is value:
            return f"{path}.{name}"
    return None


_HOMES: Final = (("np", np), ("np.linalg", np.linalg), ("np.fft", np.fft), ("math", math))


# ------------------------------------------------------------------------------------------------------------ names


class _Names(ast.NodeVisitor):
    """The names that a function binds: those that do not refer to its surroundings."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.nested = False  # whether a comprehension or a function inside binds names of its own

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.bound.add(node.id)

    def visit_arg(self, node: ast.arg) -> None:
        self.bound.add(node.arg)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.bound.update([node.name] if node.name else [])
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.nested = True
        self.generic_visit(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.nested = True
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.bound.add(node.name)
        self.nested = True
        self.generic_visit(node)


class _Resolve(ast.NodeTransformer):
    """Replaces names of a function's surroundings by expressions that hold in the module, and drops annotations."""

    def __init__(self, function: types.FunctionType, bound: set[str], owner: Any, reference: Reference) -> None:
        self.bound = bound
        self.reference = reference
        self.scope: dict[str, Any] = {**vars(builtins), **function.__globals__}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.scope[name] = cell.cell_contents
        if owner is not None:  # a method: its first argument is known
            self.scope[function.__code__.co_varnames[0]] = owner
            self.bound = bound - {function.__code__.co_varnames[0]}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.bound or not isinstance(node.ctx, ast.Load):
            return node
        return self.expression(self.lookup(node), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        inner = node.value
        if isinstance(inner, ast.Name) and inner.id not in self.bound:
            owner = self.lookup(inner)
            if not (owner is np or owner is math or isinstance(owner, type)):
                return self.expression(getattr(owner, node.attr), node)
        self.generic_visit(node)
        return node

    def lookup(self, node: ast.Name) -> Any:
        if node.id not in self.scope:
            raise NoSource(f"{node.id} has no value")
        return self.scope[node.id]

    def expression(self, value: Any, node: ast.expr) -> ast.expr:
        text = self.reference(value)
        if text.split(".")[0] in self.bound:
            raise NoSource(f"a local variable is called {text}")
        return node if isinstance(node, ast.Name) and text == node.id else ast.parse(text, mode="eval").body

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        node.decorator_list = []
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.visit(ast.copy_location(ast.Assign([node.target], node.value), node))  # type: ignore[no-any-return]


def _plain(function: Any) -> Any:
    return function.__func__ if isinstance(function, types.MethodType) else function


def _resolved(function: Any, reference: Reference) -> tuple[ast.FunctionDef | ast.Lambda, _Names]:
    owner, plain = getattr(function, "__self__", None), _plain(function)
    node = copy.deepcopy(definition(plain))
    names = _Names()
    names.generic_visit(node)
    node = _Resolve(plain, names.bound, owner, reference).visit(node)
    if owner is not None:
        del (node.args.posonlyargs or node.args.args)[0]
    return node, names


def helper(function: Any, name: str, reference: Reference) -> str:
    """The source of a function, under another name, of which every outer name is one of the module."""
    node, _ = _resolved(function, reference)
    if isinstance(node, ast.Lambda):
        node = ast.FunctionDef(name, node.args, [ast.Return(node.body)], [])
    node.name = name
    return ast.unparse(ast.fix_missing_locations(node))


# ------------------------------------------------------------------------------------------- writing a call in place


def inline(function: Any, operands: Sequence[str], params: Mapping[str, str], reference: Reference) -> str | None:
    """A call of a function that returns an expression, as that expression; None where it does more than that."""
    found = definition(_plain(function))
    if isinstance(found, ast.FunctionDef) and (len(found.body) != 1 or not isinstance(found.body[0], ast.Return)):
        return None
    node, names = _resolved(function, reference)
    body = node.body if isinstance(node, ast.Lambda) else getattr(node.body[0], "value", None)
    if names.nested or body is None:
        return None
    values: dict[str, ast.expr] = {}
    positional = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
    given = [ast.parse(text, mode="eval").body for text in operands]
    values.update(zip(positional, given, strict=False))
    if node.args.vararg is not None:
        values[node.args.vararg.arg] = ast.Tuple(given[len(positional) :], ast.Load())
    elif len(given) > len(positional):
        return None
    named = {key: ast.parse(text, mode="eval").body for key, text in params.items()}
    defaults = dict(zip(positional[len(positional) - len(node.args.defaults) :], node.args.defaults, strict=True))
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if default is not None:
            defaults[argument.arg] = default
    for name in [*positional, *(a.arg for a in node.args.kwonlyargs)]:
        if name not in values:
            if name not in named and name not in defaults:
                return None
            values[name] = named.pop(name) if name in named else defaults[name]
    if node.args.kwarg is not None:
        values[node.args.kwarg.arg] = ast.Dict([ast.Constant(key) for key in named], list(named.values()))
    elif named:
        return None
    return ast.unparse(ast.fix_missing_locations(_Substitute(values).visit(body)))


class _Substitute(ast.NodeTransformer):
    """Puts values in place of a function's parameters, and settles what that makes plain."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.values.get(node.id, node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant):
            return ast.Constant(not node.operand.value)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.Is | ast.IsNot):
            left, right = node.left, node.comparators[0]
            if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
                return ast.Constant((left.value is right.value) is isinstance(node.ops[0], ast.Is))
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """f(*(a, b), **dict((("k", v),))) is f(a, b, k=v)."""
        self.generic_visit(node)
        args: list[ast.expr] = []
        for arg in node.args:
            args.extend(arg.value.elts if isinstance(arg, ast.Starred) and isinstance(arg.value, ast.Tuple) else [arg])
        keywords: list[ast.keyword] = []
        for keyword in node.keywords:
            pairs = _pairs(keyword.value) if keyword.arg is None else None
            keywords.extend([keyword] if pairs is None else [ast.keyword(key, value) for key, value in pairs])
        node.args, node.keywords = args, keywords
        return node


def _pairs(node: ast.expr) -> list[tuple[str, ast.expr]] | None:
    """The items of a dict that is written out, or of dict(…) of written-out pairs."""
    pairs: list[tuple[Any, ast.expr]] = []
    if isinstance(node, ast.Dict):
        pairs = [(getattr(key, "value", None), value) for key, value in zip(node.keys, node.values, strict=True)]
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "dict"
        and len(node.args) == 1
    ):
        items = node.args[0]
        if not isinstance(items, ast.Tuple) or not all(
            isinstance(i, ast.Tuple) and len(i.elts) == 2 for i in items.elts
        ):
            return None
        pairs = [(getattr(i.elts[0], "value", None), i.elts[1]) for i in items.elts if isinstance(i, ast.Tuple)]
    else:
        return None
    return pairs if all(type(key) is str for key, _ in pairs) else None
