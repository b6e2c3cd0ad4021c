"""Every exception that wengert raises, with its text.

Each class derives from the builtin that a NumPy user would expect, and each message has three sentences: what
happened, why, and what to write instead.
"""

from __future__ import annotations


class WengertError(Exception):
    """The root of wengert's own exceptions."""


class EscapedTraceError(WengertError, RuntimeError):
    """A traced array was used after, or outside, the transform that made it."""


class ConversionError(WengertError, TypeError):
    """A traced array was asked to become something that cannot carry a derivative."""


class BodyValueError(ConversionError):
    """The body of a loop or branch, which is written down once for all values, was asked for one of them."""


class UnsupportedFunctionError(WengertError, TypeError):
    """A NumPy or SciPy function has no derivative rule here."""


class NotDifferentiableError(WengertError, TypeError):
    """An input or an output of a transform is of a kind that has no derivative."""


class StructureError(WengertError, ValueError):
    """Shapes, containers or counts of arguments do not fit each other."""


class ArgumentError(WengertError, TypeError):
    """A transform was called with arguments that it cannot use."""


class ViewWriteError(WengertError, ValueError):
    """A write through a view that wengert does not follow back to its base."""


class FreedGraphError(WengertError, RuntimeError):
    """A second backward pass met a graph whose residuals were released by the first."""


class ChangedArrayError(WengertError, RuntimeError):
    """An array was changed between its use and the pullback that needs its value."""


class RuleError(WengertError, TypeError):
    """A derivative rule returned something of the wrong shape, dtype or count."""


class ProgramError(WengertError, TypeError):
    """A Wengert list is malformed, or was asked for something that it does not hold."""


class StagingError(WengertError, TypeError):
    """A function under `jit` depends on something that changes and that no guard can see."""


class CheckError(WengertError, AssertionError):
    """With `check=True`, a jitted function gave something else than the function itself."""


class JitWarning(UserWarning):
    """A jitted function is right but slower than it could be."""


def escaped(what: str) -> EscapedTraceError:
    return EscapedTraceError(
        f"A traced array ({what}) was used outside the transform that made it. The transform has returned, so its "
        "derivative can no longer be recorded and any number given here would be silently wrong. Return the value "
        "from the differentiated function (or with has_aux=True) instead of storing it, or apply "
        "wengert.stop_gradient to it first."
    )


def escaping_output(what: str) -> EscapedTraceError:
    return EscapedTraceError(
        f"The differentiated function returned a traced array ({what}) that belongs to another transform, one that "
        "began later and was still running or has ended. Taking it for a constant would silently give the derivative "
        "0. Compute the value inside the function that uses it, or pass it through as an argument."
    )


def conversion(name: str, remedy: str) -> ConversionError:
    return ConversionError(
        f"{name} was called on a traced array. The plain number or array that it asks for cannot carry a derivative, "
        f"so the gradient would silently be lost. {remedy}"
    )


def body_value() -> BodyValueError:
    return BodyValueError(
        "A Python branch, a conversion or an index asked for the value of a traced number inside the body of scan, "
        "while_loop, cond or their kind. The body is written down once, from shapes alone, for all the values that "
        "will pass through it. Use np.where or wengert.cond in place of if, and array operations in place of float() "
        "or int()."
    )


def write_into_plain(name: str) -> ConversionError:
    return ConversionError(
        f"{name} would write a traced value into a plain NumPy array. The plain array cannot carry the derivative, so "
        "the gradient would silently be lost. Make the buffer traced: np.zeros(shape, like=x), np.zeros_like(x) or "
        "x.copy() for a traced x; or build the result with np.stack, np.concatenate or np.where."
    )


def unsupported(name: str, hint: str = "") -> UnsupportedFunctionError:
    return UnsupportedFunctionError(
        f"{name} met a traced array, and wengert has no derivative rule for it. Evaluating it on the bare numbers "
        "would silently drop the gradient. "
        + (hint or "Write it with functions that have rules, or apply wengert.stop_gradient to the argument first.")
    )


def unsupported_keyword(name: str, keywords: str) -> UnsupportedFunctionError:
    return UnsupportedFunctionError(
        f"{name} was called on a traced array with {keywords}, which its derivative rule does not know. Ignoring the "
        "keyword would give a wrong answer. Leave it out, or express the same with np.where, astype or indexing."
    )


def operand(kind: str) -> ConversionError:
    return ConversionError(
        f"A {kind} was combined with a traced array. wengert differentiates plain numeric arrays and Python numbers; "
        "the meaning of this type would be half lost. Convert it first, for example with np.asarray(value) or "
        "value.filled(…) for a masked array."
    )


def changed_array(shape: tuple[int, ...], dtype: object) -> ChangedArrayError:
    return ChangedArrayError(
        f"An array of shape {shape} and dtype {dtype} was changed after the function used it and before its pullback "
        "ran. The pullback needs the value at the time of use, so the gradient would silently be wrong. Pass a copy "
        "(a.copy()) to the function, or change the array after the pullback."
    )


def freed_graph() -> FreedGraphError:
    return FreedGraphError(
        "backward() met a part of the graph that an earlier backward() has released. Residuals are freed as the sweep "
        "goes, to save memory. Call the first one with retain_graph=True, or compute the value again."
    )


def leaf_write() -> ViewWriteError:
    return ViewWriteError(
        "A leaf Variable was changed in place while operations are recorded. Its gradient would belong to a value that "
        "is gone. Wrap the update in `with wengert.no_grad():`, or compute a new array, as in y = x + 1."
    )
