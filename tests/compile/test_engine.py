"""The engine: text of LLVM IR in, native code out, and what is freed, refused and looked up."""

import ctypes
import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

from wengert.compile.entry import layout
from wengert.compile.machine import cache, engine

pytestmark = pytest.mark.skipif(engine.unavailable() is not None, reason=str(engine.unavailable()))

TWICE = "define double @twice(double %x) { %y = fadd double %x, %x ret double %y }"


def call(module, name, *args):
    kind = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * len(args))
    return kind(module.address(name))(*args)


def resident():
    """Memory of this process, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_function_is_compiled_and_called():
    assert call(engine.compile(TWICE), "twice", 21.0) == 42.0


def test_import_wengert_leaves_llvmlite_and_scipy_alone():
    code = "import sys, wengert, wengert.compile.machine.engine; print({'llvmlite', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_what_llvm_refuses_raises():
    with pytest.raises(RuntimeError, match="doesn't match function result type"):
        engine.compile("define i32 @f() { ret i64 1 }")
    with pytest.raises(RuntimeError, match="does not dominate"):  # well-formed, but not well
        engine.compile("""
define i32 @f(i1 %c) {
a:
  br i1 %c, label %b, label %d
b:
  %x = add i32 1, 1
  br label %d
d:
  ret i32 %x
}""")


def test_a_symbol_that_nobody_has_raises(capfd):
    with pytest.raises(RuntimeError):
        engine.compile("declare i32 @no_such_thing()\ndefine i32 @f() { %a = call i32 @no_such_thing() ret i32 %a }")
    assert capfd.readouterr().err == ""


def test_registered_symbols_are_found_and_stay_what_they_are():
    cell = ctypes.c_double(2.5)
    name = f"test.cell.{ctypes.addressof(cell)}"
    engine.register(name, ctypes.addressof(cell))
    engine.register(name, ctypes.addressof(cell))
    with pytest.raises(ValueError, match="another address"):
        engine.register(name, 1)
    module = engine.compile(
        f"@{name} = external global double\ndefine double @get() {{ %x = load double, ptr @{name} ret double %x }}"
    )
    assert call(module, "get") == 2.5
    cell.value = 3.5
    assert call(module, "get") == 3.5


def test_the_c_api_maths_and_blas_are_found():
    assert engine.resolve("PyFloat_Type") == id(float)
    assert engine.resolve("_Py_NoneStruct") == id(None)
    assert engine.resolve("nowhere.dgemm") is engine.resolve("there_is_no_such_thing") is None
    module = engine.compile(
        "declare double @exp2(double)\ndefine double @f(double %x) { %y = call double @exp2(double %x) ret double %y }"
    )
    assert call(module, "f", 3.0) == 8.0


def test_blas_through_scipy():
    pytest.importorskip("scipy")
    assert engine.resolve("blas.dgemm") and engine.resolve("lapack.dgesdd")
    module = engine.compile("""
declare double @blas.ddot(ptr, ptr, ptr, ptr, ptr)
define double @dot(ptr %n, ptr %x, ptr %one) {
  %r = call double @blas.ddot(ptr %n, ptr %x, ptr %one, ptr %x, ptr %one)
  ret double %r
}""")
    x, n, one = np.arange(4.0), ctypes.c_int(4), ctypes.c_int(1)
    dot = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_void_p] * 3)(module.address("dot"))
    assert dot(ctypes.addressof(n), x.ctypes.data, ctypes.addressof(one)) == 14.0


def test_globals_can_be_filled_after_loading():
    text = "@cell = global double 0.0\ndefine double @get() { %x = load double, ptr @cell ret double %x }"
    one, other = engine.compile(text), engine.compile(text)
    ctypes.c_double.from_address(one.address("cell")).value = 7.0
    assert (call(one, "get"), call(other, "get")) == (7.0, 0.0)  # each module has its own


def test_internal_names_have_no_address():
    module = engine.compile(
        "define internal double @half(double %x) noinline { %y = fmul double %x, 0.5 ret double %y }\n"
        "define double @f(double %x) { %y = call double @half(double %x) ret double %y }"
    )
    assert call(module, "f", 5.0) == 2.5
    with pytest.raises(KeyError):
        module.address("half")


LOOP = """
define void @f(ptr noalias %x, ptr noalias %y) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %p = getelementptr double, ptr %x, i64 %i
  %v = load double, ptr %p
  %w = CALL
  %q = getelementptr double, ptr %y, i64 %i
  store double %w, ptr %q
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, 1000
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


def run(module, x):
    y = np.empty_like(x)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(module.address("f"))(x.ctypes.data, y.ctypes.data)
    return y


def test_loops_are_vectorised():
    module = engine.compile(LOOP.replace("CALL", "fmul double %v, 3.0"))
    assert " x double>" in module.optimized() and "<" in module.optimized()
    assert "f:" in module.assembly()
    x = np.linspace(-1, 1, 1000)
    assert np.array_equal(run(module, x), 3 * x)


def test_libmvec_is_used_by_the_vectoriser():
    variants = engine.libmvec().get("exp", ())
    if not variants:
        pytest.skip("no libmvec here")
    widths = [int(name[6 : name.index("v")]) for name in variants]
    abi = ",".join(f"_ZGV_LLVM_N{w}v_exp({name})" for w, name in zip(widths, variants, strict=True))
    text = LOOP.replace("CALL", "call double @exp(double %v) #0") + "declare double @exp(double)\n"
    text += "".join(f"declare <{w} x double> @{n}(<{w} x double>)\n" for w, n in zip(widths, variants, strict=True))
    kept = ", ".join(f"ptr @{name}" for name in variants)
    text += f'@llvm.compiler.used = appending global [{len(variants)} x ptr] [{kept}], section "llvm.metadata"\n'
    text += f'attributes #0 = {{ nounwind memory(none) "vector-function-abi-variant"="{abi}" }}\n'
    module = engine.compile(text)
    assert variants[0] in module.assembly()
    x = np.linspace(-5, 5, 1000)
    np.testing.assert_allclose(run(module, x), np.exp(x), rtol=1e-15)


def test_optimised_text_and_assembly_survive_a_load_from_the_cache():
    text = TWICE.replace("twice", "doubled")
    engine.compile(text)
    before = engine.statistics.loaded
    module = engine.compile(text)
    assert engine.statistics.loaded == before + 1
    assert "fadd double" in module.optimized() and "doubled:" in module.assembly()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_code_is_freed_with_its_module(monkeypatch):
    monkeypatch.setenv("WENGERT_CACHE", "off")

    def compile_many(count):
        for k in range(count):
            engine.compile(f"define i64 @f() {{ ret i64 {k} }}")
        gc.collect()

    compile_many(100)
    before = resident()
    compile_many(500)
    assert resident() - before < 2 * 2**20  # a leak of one pass manager each would be 35 MB, of one library 5 MB


def test_threads_compile_at_once():
    found = []

    def work(k):
        for n in range(5):
            module = engine.compile(
                f"define double @f(double %x) {{ %y = fadd double %x, {k * 10 + n}.0 ret double %y }}"
            )
            found.append(call(module, "f", 0.5) == k * 10 + n + 0.5)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 40


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
def test_a_forked_child_compiles_while_another_thread_was_compiling():
    code = """
import os, threading
from wengert.compile.machine import engine
stop = threading.Event()
def work():
    k = 0
    while not stop.is_set():
        engine.compile(f"define i64 @f() {{ ret i64 {k} }}")
        k += 1
engine.compile("define i64 @f() { ret i64 0 }")
thread = threading.Thread(target=work)
thread.start()
codes = []
for k in range(5):
    child = os.fork()
    if not child:
        engine.compile(f"define i64 @child() {{ ret i64 {k} }}")
        os._exit(7)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
thread.join()
print(codes)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60,
        env={**__import__("os").environ, "WENGERT_CACHE": "off"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[7, 7, 7, 7, 7]\n", "")


def test_a_layout_that_differs_is_a_reason(monkeypatch):
    assert layout.mismatch() is None
    monkeypatch.setattr(layout, "NDIM", 28)
    layout.mismatch.cache_clear()
    engine.unavailable.cache_clear()
    try:
        assert engine.unavailable() == "an array's number of axes is not laid out here as wengert's native code expects"
    finally:
        monkeypatch.undo()
        layout.mismatch.cache_clear()
        engine.unavailable.cache_clear()
    assert engine.unavailable() is None


@pytest.mark.parametrize("constant", ["VALUE", "SIZE", "TUPLE_ITEMS", "DATA", "NDIM", "DIMENSIONS", "DESCR", "FLAGS",
                                      "BASE", "TYPE_NUMBER", "BYTE_ORDER", "BYTES", "CODE", "REFERENT"])  # fmt: skip
def test_each_wrong_offset_is_noticed(monkeypatch, constant):
    monkeypatch.setattr(layout, constant, getattr(layout, constant) + 8)
    layout.mismatch.cache_clear()
    try:
        assert layout.mismatch() is not None
    finally:
        layout.mismatch.cache_clear()


def test_absent_llvmlite_is_a_reason(monkeypatch):
    engine.unavailable.cache_clear()
    monkeypatch.setattr(engine.util, "find_spec", lambda name: None)
    try:
        assert "llvmlite is not installed" in engine.unavailable()
        assert engine.libmvec.__wrapped__() == {}
    finally:
        monkeypatch.undo()
        engine.unavailable.cache_clear()


def test_an_artefact_of_another_process_is_compiled_anew_where_a_symbol_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("WENGERT_CACHE", str(tmp_path / "cache"))
    text = TWICE.replace("twice", "thrice")
    name = cache.name(text, engine._machine().identity)
    needy = engine._machine().build("declare void @gone()\ndefine void @thrice() { call void @gone() ret void }")
    cache.store(name, needy)
    assert call(engine.compile(text), "thrice", 2.0) == 4.0
