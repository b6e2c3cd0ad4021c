"""The table of scalar code: which function writes the instructions of a primitive, for each kind of dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from wengert.compile.machine.code import Code, key, llvm_type
from wengert.compile.machine.scalars.value import Pair, Value

Number = Value | Pair
Rule = Callable[..., Any]
F = TypeVar("F", bound=Rule)
RULES: Final[dict[tuple[str, str], Rule]] = {}  # by the name of the primitive and the kind of its loop's dtype


def rule(kinds: str, *names: str, helper: bool = False) -> Callable[[F], F]:
    """Register code for primitives of these names on loops of these kinds (of b, i, u, f, c).

    The function takes Values (Pairs where complex) of the loop's dtypes and the primitive's params, and returns one, or
    a tuple where the primitive has several results. A long one is made a `helper`: written once per module, and inlined
    by LLVM.
    """

    def registered(function: F) -> F:
        for name in names:
            for kind in kinds:
                RULES[name, kind] = shared(name, function) if helper else function
        return function

    return registered


def shared(name: str, function: Callable[..., Value]) -> Callable[..., Value]:
    """`function` as an internal function of the module, whose result has the dtype of its first argument."""

    def call(*args: Value, **params: Any) -> Value:
        code, dtype = args[0].code, args[0].dtype

        def build(body: Code, parameters: list[str]) -> str:
            inner = [Value(body, p, x.dtype) for p, x in zip(parameters, args, strict=True)]
            return str(function(*inner, **params).text)

        symbol = "_".join(["wg", name, *(key(x.dtype) for x in args), *map(str, params.values())])
        return Value(code, code.helper(symbol, llvm_type(dtype), [(x.type, x.text) for x in args], build), dtype)

    return call
