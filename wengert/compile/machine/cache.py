"""Object code on disk, so that a second process starts without compiling.

A file's name is the hash of all that its contents depend on; its contents carry their own hash, which is compared
before use. The folder must belong to the user alone: whoever can write there can run code as the user. Whatever the
disk refuses means no cache, never an error.

`WENGERT_CACHE=off` disables it, `WENGERT_CACHE=/some/folder` puts it elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import secrets
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

LIMIT: Final = 256 * 2**20  # octets; the files unused for longest go first
SUFFIX: Final = ".code"
_MAGIC: Final = b"wengert code 1\n"
_PRUNE_EVERY: Final = 100  # files stored, the first included
_stores = itertools.count()


@dataclass(frozen=True)
class Artefact:
    """Object code, the external symbols that it needs, and those that it defines."""

    code: bytes
    imports: tuple[str, ...]
    exports: tuple[str, ...]


def folder() -> Path | None:
    """Where the files are, or would be; None where the cache is off."""
    chosen = os.environ.get("WENGERT_CACHE", "")
    if chosen.lower() == "off":
        return None
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "") or os.path.expanduser("~/.cache")
    # The XDG rules: a relative path is to be ignored. So is a home that cannot be told
    return Path(base, "wengert") if os.path.isabs(base) else None


def name(text: str, identity: str) -> str:
    """The file name for a module of this text, compiled by a compiler and for a processor of this identity."""
    versions = f"{identity}\n{sys.version}\n{np.__version__}\n"
    return hashlib.sha256(versions.encode() + text.encode()).hexdigest() + SUFFIX


def load(name: str) -> Artefact | None:
    """What was stored under this name, or None where nothing was, or something else than what was stored is there."""
    try:
        if (place := _private_folder(make=False)) is None:
            return None
        content = (place / name).read_bytes()
        head = len(_MAGIC) + hashlib.sha256().digest_size
        payload = content[head:]
        if content[:head] != _MAGIC + _seal(name, payload):
            return None
        with contextlib.suppress(OSError):
            os.utime(place / name)  # it was of use
        size = int.from_bytes(payload[:4], "little")
        symbols = json.loads(payload[4 : 4 + size])
        return Artefact(payload[4 + size :], tuple(symbols["imports"]), tuple(symbols["exports"]))
    except (OSError, ValueError):
        return None


def store(name: str, artefact: Artefact) -> None:
    """Keep object code under this name: readers see the whole file or none."""
    symbols = json.dumps({"imports": artefact.imports, "exports": artefact.exports}).encode()
    payload = len(symbols).to_bytes(4, "little") + symbols + artefact.code
    try:
        if (place := _private_folder(make=True)) is None:
            return
        temporary = place / f"{secrets.token_hex(8)}.tmp"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            with open(descriptor, "wb") as file:
                file.write(_MAGIC + _seal(name, payload) + payload)
            os.replace(temporary, place / name)
        finally:
            temporary.unlink(missing_ok=True)
        if next(_stores) % _PRUNE_EVERY == 0:
            prune(place)
    except (OSError, ValueError):
        pass


def prune(place: Path, limit: int = LIMIT) -> None:
    """Remove the files unused for longest until a quarter of the limit is free, and what crashed writers left."""
    found = []
    for path in place.iterdir():
        with contextlib.suppress(OSError):  # another process removed it
            about = path.stat()
            if path.suffix == SUFFIX:
                found.append((about.st_mtime, about.st_size, path))
            elif path.suffix == ".tmp" and about.st_mtime < time.time() - 3600:
                path.unlink()
    total = sum(size for _, size, _ in found)
    if total <= limit:
        return
    for _, size, path in sorted(found):
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
        if total <= limit * 3 // 4:
            return


def _seal(name: str, payload: bytes) -> bytes:
    """The hash of a file's contents and its name: a file that was renamed is another function's code."""
    return hashlib.sha256(name.encode() + payload).digest()


def _private_folder(make: bool) -> Path | None:
    """The folder, if it is a directory of this user that nobody else may enter."""
    place = folder()
    if place is None:
        return None
    if make:
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            place.mkdir(mode=0o700)
    about = place.stat()
    if not stat.S_ISDIR(about.st_mode):
        return None
    if sys.platform != "win32" and (about.st_uid != os.getuid() or about.st_mode & 0o077):
        return None
    return place
