"""The disk cache: what is found again, and what is refused."""

import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from wengert.compile.machine import cache, engine
from wengert.compile.machine.cache import Artefact

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
ONE = Artefact(b"\x7fELF machine code", ("exp", "PyFloat_Type"), ("body", "entry"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "home" / "wengert"
    monkeypatch.setenv("WENGERT_CACHE", str(place))
    return place


def name(text="text"):
    return cache.name(text, "identity")


def test_what_was_stored_is_found(folder):
    assert cache.load(name()) is None
    cache.store(name(), ONE)
    assert cache.load(name()) == ONE
    assert cache.load(name("other text")) is None
    assert [path.suffix for path in folder.iterdir()] == [cache.SUFFIX]


def test_the_name_depends_on_text_and_identity():
    names = {cache.name(text, identity) for text in ("a", "b") for identity in ("x", "y")}
    assert len(names) == 4


@POSIX
def test_only_the_user_may_read(folder):
    cache.store(name(), ONE)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / name()).stat().st_mode) == 0o600


@POSIX
@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777, 0o701])
def test_a_folder_that_others_may_enter_is_refused(folder, mode):
    cache.store(name(), ONE)
    folder.chmod(mode)
    assert cache.load(name()) is None
    cache.store(name("other"), ONE)
    assert len(list(folder.iterdir())) == 1


@POSIX
def test_a_folder_of_another_user_is_refused(folder, monkeypatch):
    cache.store(name(), ONE)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert cache.load(name()) is None


def test_every_changed_octet_is_noticed(folder):
    cache.store(name(), ONE)
    path = folder / name()
    content = path.read_bytes()
    for k in range(len(content)):
        path.write_bytes(content[:k] + bytes([content[k] ^ 0x20]) + content[k + 1 :])
        assert cache.load(name()) is None
    for k in range(len(content)):
        path.write_bytes(content[:k])
        assert cache.load(name()) is None
    path.write_bytes(content + b"\0")
    assert cache.load(name()) is None
    path.write_bytes(content)
    assert cache.load(name()) == ONE


def test_a_renamed_file_is_refused(folder):
    cache.store(name(), ONE)
    os.rename(folder / name(), folder / name("other text"))
    assert cache.load(name("other text")) is None


def test_off_and_unwritable_mean_no_cache(folder, monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    for value in ("off", "OFF", str(file), str(file / "below"), "\0"):
        if "\0" not in value:
            monkeypatch.setenv("WENGERT_CACHE", value)
        else:
            monkeypatch.setattr(cache, "folder", lambda: __import__("pathlib").Path("a\0b"))
        cache.store(name(), ONE)
        assert cache.load(name()) is None
    assert not folder.exists()


def test_the_default_place(monkeypatch):
    monkeypatch.delenv("WENGERT_CACHE")
    if sys.platform != "win32":
        monkeypatch.setenv("XDG_CACHE_HOME", "/there")
        assert str(cache.folder()) == "/there/wengert"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        assert cache.folder() is None
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", "/home/someone")
        assert str(cache.folder()) == "/home/someone/.cache/wengert"


def test_a_full_disk_leaves_nothing_behind(folder, monkeypatch):
    cache.store(name(), ONE)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.store(name("other"), ONE)
    assert [path.name for path in folder.iterdir()] == [name()]


def test_the_oldest_go_first(folder):
    for k in range(10):
        cache.store(name(str(k)), Artefact(bytes(1000), (), ()))
        os.utime(folder / name(str(k)), (1000 + k, 1000 + k))
    cache.load(name("0"))  # is of use
    old, new = folder / "old.tmp", folder / "new.tmp"
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (0, time.time() - 7200))
    cache.prune(folder, 10 * 1200)
    assert len(list(folder.glob("*" + cache.SUFFIX))) == 10
    assert not old.exists() and new.exists()
    cache.prune(folder, 8000)
    left = {path.name for path in folder.glob("*" + cache.SUFFIX)}
    assert left == {name(k) for k in "06789"}


def test_writers_and_readers_at_once(folder):
    wrong = []

    def work(k):
        for n in range(100):
            key = name(str(n % 5))
            cache.store(key, Artefact(bytes([n % 5]) * 10_000, (str(k),), ()))
            found = cache.load(key)
            if found is None or found.code != bytes([n % 5]) * 10_000:
                wrong.append((k, n))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(list(folder.iterdir())) == 5


@pytest.mark.skipif(engine.unavailable() is not None, reason=str(engine.unavailable()))
def test_a_second_process_does_not_compile(folder):
    code = '''
import ctypes
from wengert.compile.machine import engine
m = engine.compile("""declare double @exp(double)
define double @f(double %x) { %y = call double @exp(double %x) ret double %y }""")
print(ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(m.address("f"))(1.0), engine.statistics)
'''

    def process(**more):
        env = {**os.environ, **more}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        assert done.stderr == ""
        return done.stdout

    answer = "2.718281828459045 Statistics"
    assert process() == f"{answer}(compiled=1, loaded=0)\n"
    assert process() == f"{answer}(compiled=0, loaded=1)\n"
    assert process(WENGERT_CACHE="off") == f"{answer}(compiled=1, loaded=0)\n"
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-7])  # a crash of the disk
    assert process() == f"{answer}(compiled=1, loaded=0)\n"
    assert process() == f"{answer}(compiled=0, loaded=1)\n"
