"""Textual LLVM IR in, native code out: llvmlite behind three functions.

llvmlite is imported by the first compilation and never before. Where it is missing, or this interpreter's objects are
not laid out as `layout` reads them, `unavailable()` says so and nothing here is used.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
import re
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import util
from typing import Any, Final

from wengert.compile.entry import layout
from wengert.compile.machine import cache


@dataclass
class Statistics:
    """How many modules this process compiled, and how many it loaded from the disk cache."""

    compiled: int = 0
    loaded: int = 0


statistics: Final = Statistics()

_registered: dict[str, int] = {}
_lock = threading.RLock()


@functools.cache
def unavailable() -> str | None:
    """Why native code cannot be had in this interpreter, or None where it can.

    >>> unavailable() is None or isinstance(unavailable(), str)
    True
    """
    if sys.implementation.name != "cpython":
        return f"native code needs CPython, and this is {sys.implementation.name}"
    if util.find_spec("llvmlite") is None:
        return "llvmlite is not installed (pip install llvmlite scipy)"
    if util.find_spec("scipy") is None:
        return "SciPy, whose BLAS and LAPACK it calls, is not installed (pip install scipy)"
    if (problem := layout.mismatch()) is not None:
        return problem
    try:
        answer = _answer()
    except Exception as error:  # a broken llvmlite must not break wengert: whatever it raised is the reason
        return f"llvmlite does not work here: {type(error).__name__}: {error}"
    return None if answer == 42 else f"llvmlite's code gives {answer} for 42"


def _answer() -> int:
    """What the smallest function returns, through all that a compilation needs."""
    text = "define i64 @answer() { ret i64 42 }"
    module = Module(text, _machine().build(text))
    return int(ctypes.CFUNCTYPE(ctypes.c_int64)(module.address("answer"))())


def register(name: str, address: int) -> None:
    """Let compiled code refer to `address` by the external symbol `name`. The object there must never move or die."""
    if _registered.setdefault(name, address) != address:
        raise ValueError(f"the symbol {name} already stands for another address")


class Module:
    """Native code in memory, freed when the last reference to the module goes."""

    __slots__ = ("__weakref__", "_addresses", "_closing", "_jit", "_text", "_tracker")

    def __init__(self, text: str, artefact: cache.Artefact) -> None:
        self._closing: list[Callable[[], Any]] = []
        self._text = zlib.compress(text.encode(), 1)  # only show() reads it again
        machine = _machine()
        # Of the three ways to load an object this is the one that is quick (0.4 ms), returns its memory, and raises
        # on an unknown symbol: one LLJIT for all keeps 10 kB per module, and MCJIT ends the process.
        self._jit = machine.llvm.create_lljit_compiler(machine.generic(), use_jit_link=True, suppress_errors=True)
        builder = machine.llvm.JITLibraryBuilder()
        builder.add_object_img(artefact.code).add_current_process()
        for name in artefact.imports:
            if (address := resolve(name)) is not None:
                builder.import_symbol(name, address)
        for name in artefact.exports:
            builder.export_symbol(name)
        self._tracker = builder.link(self._jit, "wengert")
        self._addresses = {name: int(self._tracker[name]) for name in artefact.exports}

    def __del__(self) -> None:
        if getattr(self, "_tracker", None) is not None and not sys.is_finalizing():
            for action in self._closing:
                action()
            self._tracker.close()  # before the engine that it belongs to
            self._jit.close()

    def address(self, name: str) -> int:
        """Where the function or global variable `name` lies; it stays valid as long as the module does."""
        return self._addresses[name]

    def fill(self, name: str, objects: Sequence[Any]) -> None:
        """Let a global array of pointers point to these objects, which must live as long as the module is called."""
        table = (ctypes.c_size_t * len(objects)).from_address(self.address(name))
        table[:] = [id(one) for one in objects]

    def before_close(self, action: Callable[[], Any]) -> None:
        """Have `action` called just before the code is freed. It refers neither to the module nor to user's objects."""
        self._closing.append(action)

    @property
    def text(self) -> str:
        """The IR as it was given to `compile`."""
        return zlib.decompress(self._text).decode()

    def optimized(self) -> str:
        """The IR after LLVM's passes, worked out anew."""
        return optimized(self.text)

    def assembly(self) -> str:
        """The machine code as assembly, worked out anew."""
        return assembly(self.text)


def optimized(text: str) -> str:
    """A module of textual LLVM IR after LLVM's passes."""
    with _lock:
        return str(_machine().optimize(text))


def assembly(text: str) -> str:
    """The assembly of a module of textual LLVM IR."""
    with _lock:
        machine = _machine()
        return str(machine.target.emit_assembly(machine.optimize(text)))


def compile(text: str, key: str | None = None) -> Module:
    """Compile a module of textual LLVM IR for this processor, or load it from the disk cache.

    Every definition with external linkage has an `address`. External symbols are looked up among those registered,
    then Python's C API, the vector maths library, SciPy's BLAS and LAPACK (`blas.dgemm`, `lapack.dgesdd`), then the
    process. `key` names the module in the cache where that is cheaper to tell than its text. Raises RuntimeError where
    LLVM refuses.

    >>> if unavailable() is None:
    ...     module = compile("define double @twice(double %x) { %y = fadd double %x, %x ret double %y }")
    ...     ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(module.address("twice"))(21.0)
    ... else:
    ...     42.0
    42.0
    """
    with _lock:
        machine = _machine()
        name = cache.name(text if key is None else key, machine.identity)
        artefact = cache.load(name)
        if artefact is not None:
            try:
                module = Module(text, artefact)
            except RuntimeError:
                pass  # a symbol that this process has not: compile, and let that error speak
            else:
                statistics.loaded += 1
                return module
        artefact = machine.build(text)
        module = Module(text, artefact)
        statistics.compiled += 1
        cache.store(name, artefact)
        return module


_DEFINE = re.compile(r"^(define [^\n]*?)\s*\{", re.MULTILINE)


class _Machine:
    """LLVM set up for this processor. One per process: the host's features cost 0.4 ms to ask for."""

    def __init__(self) -> None:
        import llvmlite  # type: ignore[import-untyped]
        import llvmlite.binding as llvm  # type: ignore[import-untyped]

        self.llvm: Any = llvm
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.check_jit_execution()
        self.triple = llvm.get_process_triple()
        self.cpu: str = llvm.get_host_cpu_name()
        host = llvm.get_host_cpu_features()
        self.features: frozenset[str] = frozenset(name for name, here in host.items() if here)
        self.target = self._target(self.cpu, host.flatten(), 3)
        self.layout = str(self.target.target_data)
        # Level 3 and level 2 compile equally fast (3 ms of passes and 6 ms of code generation for a loop over exp and
        # sin); what would cost is running code generation twice, so assembly is made only when it is asked for.
        tuning = llvm.create_pipeline_tuning_options(speed_level=3)
        tuning.loop_vectorization = tuning.slp_vectorization = True
        # Copies of a loop's body beyond what the vectoriser makes double the time and the code, and win nothing.
        tuning.loop_unrolling = False
        self.builder = llvm.create_pass_builder(self.target, tuning)
        self.identity = (
            f"{llvmlite.__version__} {llvm.llvm_version_info} {self.triple} {self.cpu} {host.flatten()} "
            f"{' '.join(sorted(libmvec_symbols(self.features)))}"
        )
        # A fork while another thread is inside LLVM would leave the child a lock that nobody returns.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._lock_all, after_in_parent=self._unlock, after_in_child=self._unlock)

    def _lock_all(self) -> None:
        _lock.acquire()
        self.llvm.ffi.lib._lock._lock.acquire()

    def _unlock(self) -> None:
        self.llvm.ffi.lib._lock._lock.release()
        _lock.release()

    def _target(self, cpu: str, features: str, level: int) -> Any:
        # Position-independent and small: constants lie beside the code, everything else is reached through a table.
        target = self.llvm.Target.from_triple(self.triple)
        return target.create_target_machine(
            cpu=cpu, features=features, opt=level, reloc="pic", codemodel="small", jit=True
        )

    def generic(self) -> Any:
        """A target machine to load objects with: llvmlite takes one over with each engine, so a cheap one."""
        return self._target("generic", "", 0)

    def optimize(self, text: str) -> Any:
        llvm = self.llvm
        wide = _DEFINE.sub(_prefer_wide, text)
        module = llvm.parse_assembly(wide, llvm.create_context())  # a context of its own: its types die with it
        module.triple = self.triple
        module.data_layout = self.layout
        module.verify()
        passes = self.builder.getModulePassManager()
        try:
            passes.run(module, self.builder)
        finally:
            # The class inherits two _dispose and the empty one wins, which would leak 70 kB each time.
            llvm.newpassmanagers.NewPassManager._dispose(passes)
            passes.detach()
        return module

    def build(self, text: str) -> cache.Artefact:
        module = self.optimize(text)
        values = [*module.functions, *module.global_variables]
        imports = tuple(value.name for value in values if value.is_declaration and not value.name.startswith("llvm."))
        hidden = ("internal", "private", "appending")
        exports = tuple(value.name for value in values if not value.is_declaration and value.linkage.name not in hidden)
        return cache.Artefact(self.target.emit_object(module), imports, exports)


def _prefer_wide(match: re.Match[str]) -> str:
    line = match[1]
    return match[0] if "prefer-vector-width" in line else f'{line} "prefer-vector-width"="512" {{'


_made: list[_Machine] = []


def _machine() -> _Machine:
    if not _made:
        with _lock:
            if not _made:
                _made.append(_Machine())
    return _made[0]


# --- what external symbols mean --------------------------------------------------------------------------------------


def resolve(name: str) -> int | None:
    """The address of an external symbol in this process, or None where only the dynamic linker may know it."""
    if (address := _registered.get(name)) is not None:
        return address
    kind, _, rest = name.partition(".")
    if rest and kind in ("blas", "lapack"):
        return _capsules(kind).get(rest)
    for library in (ctypes.pythonapi, _vector_library(), _maths()):
        if library is not None and (address := _symbol(library, name)) is not None:
            return address
    return None


def _symbol(library: ctypes.CDLL, name: str) -> int | None:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    except (AttributeError, ValueError):
        return None


@functools.cache
def _maths() -> ctypes.CDLL | None:
    path = ctypes.util.find_library("ucrtbase" if sys.platform == "win32" else "m")
    return ctypes.CDLL(path) if path else None


@functools.cache
def _capsules(kind: str) -> dict[str, int]:
    """SciPy's own pointers to BLAS or LAPACK, name → address."""
    try:
        module = __import__(f"scipy.linalg.cython_{kind}", fromlist=["__pyx_capi__"])
    except ImportError:
        return {}
    return {name: layout.capsule(value) for name, value in module.__pyx_capi__.items()}


# --- vector maths ----------------------------------------------------------------------------------------------------

# What glibc's libmvec may hold: sin … pow since 2.22, the rest since 2.35; each is probed.
_UNARY = (
    "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh "
    "exp exp2 exp10 expm1 log log2 log10 log1p cbrt erf erfc"
)
_BINARY = "pow atan2 hypot"
# The letter that the vector ABI gives an instruction set, its width in doubles, and the feature that it needs.
_SETS = (("e", 8, "avx512f"), ("d", 4, "avx2"), ("b", 2, "sse2"), ("n", 2, "neon"))


@functools.cache
def _vector_library() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL("libmvec.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return None


def libmvec_symbols(features: Iterable[str]) -> dict[str, tuple[str, ...]]:
    library = _vector_library()
    if library is None:
        return {}
    here = set(features)
    found: dict[str, tuple[str, ...]] = {}
    for names, arguments in ((_UNARY, "v"), (_BINARY, "vv")):
        for name in names.split():
            for suffix, factor in (("", 1), ("f", 2)):
                candidates = (
                    f"_ZGV{letter}N{width * factor}{arguments}_{name}{suffix}"
                    for letter, width, feature in _SETS
                    if feature in here
                )
                variants = tuple(symbol for symbol in candidates if _symbol(library, symbol) is not None)
                if variants:
                    found[name + suffix] = variants
    return found


@functools.cache
def libmvec() -> dict[str, tuple[str, ...]]:
    """The vector variants that this machine has of each scalar function, widest first; float ones end in f.

    `libmvec()["exp"]` is `("_ZGVeN8v_exp", "_ZGVdN4v_exp", "_ZGVbN2v_exp")` on a machine with AVX-512 and a recent
    glibc. A call is vectorised when it carries `"vector-function-abi-variant"="_ZGV_LLVM_N8v_exp(_ZGVeN8v_exp),…"` and
    the variants are declared and kept in `@llvm.compiler.used`.
    """
    return libmvec_symbols(_machine().features) if unavailable() is None else {}
