"""The digits: what is read right, and what is refused with advice."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from wengert.tour.data import TourError, load


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def some_digits(count: int = 40, size: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (count, size, size), np.uint8), np.resize([4, 9, 1, 4, 9], count).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images, labels = some_digits()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_uci_digits_are_real_and_split_deterministically():
    one, again, other = load(None, 0), load(None, 0), load(None, 1)
    assert one.shape == (8, 8)
    assert len(one.train_y) + len(one.held_y) == 361  # 181 fours and 180 nines
    assert one.train_y.sum() + one.held_y.sum() == 180
    assert one.train_x.dtype == np.float64 and 0.0 == one.train_x.min() < one.train_x.max() == 1.0
    assert all(np.array_equal(a, b) for a, b in zip(one[2:], again[2:], strict=True))
    assert not np.array_equal(one.train_x, other.train_x)


def test_no_digit_is_both_learnt_and_held_out(folder):
    digits = load(folder, 3)
    assert not {row.tobytes() for row in digits.train_x} & {row.tobytes() for row in digits.held_x}


def test_fours_and_nines_of_idx_files(folder):
    images, labels = some_digits()
    digits = load(folder, 0)
    assert digits.shape == (6, 6)
    assert (len(digits.train_y), len(digits.held_y)) == (26, 6)
    truth = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    for x, y in [*zip(digits.train_x, digits.train_y, strict=True), *zip(digits.held_x, digits.held_y, strict=True)]:
        assert truth[np.round(x * 255).astype(np.uint8).tobytes()] == (9 if y else 4)


@pytest.mark.parametrize("dot", [False, True])
def test_compressed_files_and_the_other_usual_name(folder, dot):
    plain = load(folder, 0)
    for path in list(folder.iterdir()):
        name = path.name.replace("-idx", ".idx") if dot else path.name
        data = gzip.compress(path.read_bytes())
        path.unlink()
        (folder / f"{name}.gz").write_bytes(data)
    assert all(np.array_equal(a, b) for a, b in zip(plain[2:], load(folder, 0)[2:], strict=True))


def test_a_test_set_of_their_own_is_held_out(folder):
    images, labels = some_digits(10)
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    digits = load(folder, 0)
    assert (len(digits.train_y), len(digits.held_y)) == (32, 8)


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(TourError) as caught:
        load(folder, 0)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert message.count(". ") >= 2 and message.endswith("."), "what happened, why, what to do"


def test_missing_folder(tmp_path):
    refused(tmp_path / "nowhere", "no folder", "nowhere")


def test_missing_files(folder):
    (folder / "train-labels-idx1-ubyte").unlink()
    refused(folder, "train-labels-idx1-ubyte", "missing")


def test_half_a_test_set(folder):
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(some_digits()[0]))
    refused(folder, "t10k-labels-idx1-ubyte", "missing")


@pytest.mark.parametrize("kept", [0, 3, 4, 15, 16, 100])
def test_truncated_images(folder, kept):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:kept])
    refused(folder, path.name, "truncated")


@pytest.mark.parametrize("kept", [2, 5, 20])
def test_truncated_compressed_labels(folder, kept):
    path = folder / "train-labels-idx1-ubyte"
    data = gzip.compress(path.read_bytes())
    path.unlink()
    (folder / f"{path.name}.gz").write_bytes(data[:kept])
    refused(folder, path.name, "truncated")


def test_damaged_compressed_file(folder):
    path = folder / "train-labels-idx1-ubyte"
    data = bytearray(gzip.compress(path.read_bytes()))
    data[-6] ^= 0xFF  # in the checksum
    path.write_bytes(bytes(data))
    refused(folder, path.name, "damaged")


def test_swapped_files(folder):
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(content)
    refused(folder, "magic", "0x00000801", "0x00000803")


def test_a_file_longer_than_its_header_says(folder):
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes() + b"\0\0")
    refused(folder, path.name, "2 bytes more")


def test_a_header_of_absurd_lengths_is_refused_without_allocating(folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"\0" * 99)
    refused(folder, path.name, "truncated")


def test_images_and_labels_of_different_counts(folder):
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(some_digits(41)[1]))
    refused(folder, "40 images", "41 labels")


def test_test_images_of_another_size(folder):
    images, labels = some_digits(10, size=5)
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    refused(folder, "5×5", "6×6")


@pytest.mark.parametrize("label", [4, 7])
def test_data_without_both_digits(folder, label):
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.full(40, label, np.uint8)))
    refused(folder, "0 nines")


def test_no_images_at_all(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((0, 6, 6), np.uint8)))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(0, np.uint8)))
    refused(folder, "0 fours and 0 nines")


def test_images_without_pixels(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((40, 0, 6), np.uint8)))
    refused(folder, "0×6 pixels")


def test_a_folder_that_may_not_be_read(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)  # root may read everything
    refused(folder, "Permission denied", str(folder))


def test_a_folder_in_place_of_a_file(folder):
    path = folder / "train-labels-idx1-ubyte"
    path.unlink()
    path.mkdir()
    refused(folder, path.name, "cannot be read")
