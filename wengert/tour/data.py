"""Real handwritten digits, 4 against 9: the UCI digits that ship inside scikit-learn, or MNIST files of the user's."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wengert.errors import WengertError

Array = NDArray[np.float64]
CLASSES = (4, 9)
HELD_OUT = 5  # one digit in so many is held out where the data come without a test set of their own
INSTALL = "pip install scikit-learn sympy"  # what the extra `tour` holds; a checkout is not on the package index
MAGIC = {"images": 0x00000803, "labels": 0x00000801}  # unsigned bytes, three axes or one


class TourError(WengertError, ValueError):
    """The tour cannot go on with what it was given; the message says what to do."""


class Digits(NamedTuple):
    """Fours and nines, split into a part to learn from and a part held out.

    Pixels are float64 in [0, 1], one row per digit, `shape` = (rows, columns) as an image. Labels are 0.0 for a four
    and 1.0 for a nine.
    """

    source: str
    shape: tuple[int, int]
    train_x: Array
    train_y: Array
    held_x: Array
    held_y: Array


def load(directory: Path | None, seed: int) -> Digits:
    """The digits of `directory` (MNIST's IDX files, plain or compressed), or scikit-learn's where it is None.

    The same seed gives the same order and the same split. Raises `TourError` where the digits cannot be had.
    """
    if directory is None:
        return _load_uci(seed)
    try:
        return _load_mnist(directory, seed)
    except OSError as error:
        raise TourError(
            f"The folder {directory} cannot be read ({error.strerror}). --data names the folder that holds MNIST's "
            "files. Give one that you may read, or leave --data out to learn from the digits inside scikit-learn."
        ) from None


def _load_uci(seed: int) -> Digits:
    try:
        from sklearn.datasets import load_digits  # takes a second to import, and --data does without it
    except ImportError:
        raise TourError(
            "scikit-learn is not installed. The UCI handwritten digits that the tour learns from ship inside it. "
            f"Install it with `{INSTALL}`, or point --data at a folder with MNIST's files."
        ) from None
    found: Any = load_digits()
    images, labels = _fours_and_nines(found.images, found.target, 16.0, seed)
    return _split(f"UCI handwritten digits ({len(labels)} fours and nines, 8×8)", images, labels)


def _load_mnist(directory: Path, seed: int) -> Digits:
    if not directory.is_dir():
        what = f"{directory} is a file, not a folder" if directory.exists() else f"There is no folder {directory}"
        raise TourError(
            f"{what}. --data names the folder that holds MNIST's files. Give an existing "
            "folder, or leave --data out to learn from the digits that ship inside scikit-learn."
        )
    images, labels = _fours_and_nines(*_read_pair(directory, "train"), 255.0, seed)
    source = f"MNIST in {directory} (fours and nines, {images.shape[1]}×{images.shape[2]})"
    if not any(_find(directory, "t10k", part) for part in MAGIC):
        return _split(source, images, labels)
    held_images, held_labels = _fours_and_nines(*_read_pair(directory, "t10k"), 255.0, seed)
    if held_images.shape[1:] != images.shape[1:]:
        raise TourError(
            f"The test images in {directory} are {_times(held_images.shape[1:])} pixels, the training images "
            f"{_times(images.shape[1:])}. A network learnt on one size cannot read the other. Put files of one data "
            "set in the folder."
        )
    return _digits(source, images, labels, held_images, held_labels)


def _fours_and_nines(images: NDArray[Any], labels: NDArray[Any], white: float, seed: int) -> tuple[Array, Array]:
    """The images of both digits, with `white` scaled to 1, and their labels, shuffled."""
    rows = np.flatnonzero(np.isin(labels, CLASSES))
    is_nine = labels[rows] == CLASSES[1]
    if len(rows) < HELD_OUT or is_nine.all() or not is_nine.any():
        raise TourError(
            f"The data hold {np.sum(~is_nine)} fours and {np.sum(is_nine)} nines. To tell one from the other, the "
            f"network must see both, and at least {HELD_OUT} digits in all. Use a larger set."
        )
    order = np.random.default_rng(seed).permutation(len(rows))
    return images[rows[order]] / white, is_nine[order].astype(np.float64)


def _split(source: str, images: Array, labels: Array) -> Digits:
    held = len(labels) // HELD_OUT
    return _digits(source, images[held:], labels[held:], images[:held], labels[:held])


def _digits(source: str, images: Array, labels: Array, held_images: Array, held_labels: Array) -> Digits:
    shape = images.shape[1], images.shape[2]
    return Digits(
        source, shape, images.reshape(len(images), -1), labels, held_images.reshape(len(held_images), -1), held_labels
    )


# ---------------------------------------------------------------------------------------------------------- IDX files
# The format of MNIST's files: big-endian; a magic number whose last byte counts the axes, their lengths, then unsigned
# bytes (LeCun, Cortes and Burges, "The MNIST database of handwritten digits", the section on file formats).


def _find(directory: Path, role: str, part: str) -> Path | None:
    """The file under either of its usual names, compressed or not."""
    axes = MAGIC[part] & 0xFF
    names = [f"{role}-{part}{mark}idx{axes}-ubyte{ending}" for mark in "-." for ending in ("", ".gz")]
    return next((directory / name for name in names if (directory / name).exists()), None)


def _read_pair(directory: Path, role: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The images and the labels of MNIST's training ("train") or test ("t10k") set."""
    parts = {}
    for part in MAGIC:
        path = _find(directory, role, part)
        if path is None:
            name = f"{role}-{part}-idx{MAGIC[part] & 0xFF}-ubyte"
            raise TourError(
                f"{name} (or {name}.gz) is missing in {directory}. The tour reads images together with their labels. "
                "Put MNIST's four files there, or at least the two that begin with train-."
            )
        parts[part] = read_idx(path, MAGIC[part])
    images, labels = parts["images"], parts["labels"]
    if len(images) != len(labels):
        raise TourError(
            f"The {role} files in {directory} hold {len(images)} images and {len(labels)} labels. Each image needs "
            "its label, so the files are not of one data set, or one was cut. Download both again."
        )
    if 0 in images.shape[1:]:
        raise TourError(
            f"The {role} images in {directory} are {_times(images.shape[1:])} pixels. There is nothing in them to tell "
            "a four from a nine by. Download them again."
        )
    return images, labels


def read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes whose magic number is `magic`; compressed files are recognised.

    Raises `TourError` where the file cannot be read, is not such a file, or is shorter or longer than its header says.
    """
    data = _read_bytes(path)
    axes = magic & 0xFF
    header = 4 * (1 + axes)
    if len(data) < 4:
        raise _truncated(path, header, len(data))
    (found,) = struct.unpack_from(">I", data)
    if found != magic:
        wanted = "images (three axes)" if axes == 3 else "labels (one axis)"
        raise TourError(
            f"{path} begins with the magic number 0x{found:08x} instead of 0x{magic:08x}. It is not an IDX file of "
            f"{wanted} in unsigned bytes. Check that the files were not swapped or renamed, or download it again."
        )
    if len(data) < header:
        raise _truncated(path, header, len(data))
    shape = struct.unpack_from(f">{axes}I", data, 4)
    expected = header + math.prod(shape)  # of Python integers: a damaged header cannot make it overflow
    if len(data) < expected:
        raise _truncated(path, expected, len(data))
    if len(data) > expected:
        raise TourError(
            f"{path} has {len(data) - expected} bytes more than the {expected} that its header announces. Header and "
            "content disagree, so the file is damaged or not what its name says. Download it again."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except EOFError:
        raise TourError(
            f"{path} ends in the middle of its compressed data. It is truncated, as after an interrupted download. "
            "Download it again."
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise TourError(f"{path} cannot be decompressed ({error}). The file is damaged. Download it again.") from None
    except OSError as error:
        raise TourError(
            f"{path} cannot be read ({error.strerror}). The tour needs all of MNIST's files that it finds. Make the "
            "file readable, or name another folder."
        ) from None


def _truncated(path: Path, expected: int, found: int) -> TourError:
    return TourError(
        f"{path} has {found} bytes where {expected} are needed. The file is truncated, as after an interrupted "
        "download. Download it again."
    )


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
