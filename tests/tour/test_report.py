"""The report: whole, self-contained, and written at once or not at all."""

import base64
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

import wengert as wg
from wengert.look.table import lines
from wengert.tour import network, report
from wengert.tour.data import Digits
from wengert.tour.report import Derivative, Findings

# Each tour compiles its own gradient, and one process takes many tours here
pytestmark = pytest.mark.filterwarnings("ignore:jit.* is one of many jitted functions")


@pytest.fixture(scope="module")
def findings() -> Findings:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(30, 12)), np.resize([0.0, 1.0], 30)
    digits = Digits("made up <for> the test & no more", (3, 4), x[:20], y[:20], x[20:], y[20:])
    gradient = network.compiled()
    history = list(network.train(network.initial(12, rng), digits, 3, rng, gradient))
    gain = network.gain(gradient, history[-1].params, digits, repeats=3)
    example = wg.trace(network.loss)(history[-1].params, x[:1], y[:1])
    rows = lines(lambda x1, x2: (x1 + x2) * np.sin(x1), 1.0, 2.0)
    return Findings([Derivative("forward", 0.5, 1e-17)], "0.5", rows, digits, 1e-10, None, history, gain, example, 0)


class Checker(HTMLParser):
    """Collects tags and attributes; fails where a tag closes that is not the last one open."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for key, value in attributes if key in ("src", "href", "xlink:href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_refers_to_nothing_outside(findings):
    text = report.page(findings)
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert not checker.open
    assert all(address.startswith("data:image/png;base64,") for address in checker.addresses)
    assert not {"script", "link", "iframe"} & set(checker.tags)
    assert not any(word in text for word in ("http:", "https:", "@import", "url("))
    assert "made up &lt;for&gt; the test &amp; no more" in text


def test_the_page_shows_curve_digits_and_graph(findings):
    text = report.page(findings)
    assert text.count("<polyline") == 2 and text.count("<circle") == 2 * len(findings.epochs)
    assert text.count("<img") == len(findings.digits.held_y)
    assert 'class="wengert-graph"' in text and "logaddexp" in text and ">W1<" in text
    assert f"{findings.epochs[-1].held_accuracy:.1%}" in text


def test_the_page_says_what_jit_gained(findings):
    gain = network.Gain(310e-6, 41e-6, 0.18, False, None)
    said = "jit: a gradient in 41 µs, eager 310 µs (7.6×), after 180 ms of compiling."
    assert report.gained(gain) == said and said in report.page(findings._replace(gain=gain))
    assert report.gained(gain._replace(cached=True)).endswith("after 180 ms of loading from the disk cache.")
    assert report.gained(gain._replace(why_numpy="no <llvmlite>")).startswith(f"{said} It runs by NumPy")
    text = report.page(findings._replace(gain=gain._replace(why_numpy="no <llvmlite>")))
    assert "no &lt;llvmlite&gt;" in text and "no <llvmlite>" not in text


def test_png_holds_the_pixels():
    image = np.linspace(0.0, 1.0, 12).reshape(3, 4)
    data = base64.b64decode(report.png(image).removeprefix("data:image/png;base64,"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, chunks = 8, {}
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        assert checksum == zlib.crc32(kind + content)
        chunks[kind] = content
        position += 12 + length
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (4, 3)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(3, 5)
    assert (rows[:, 0] == 0).all()
    np.testing.assert_array_equal(rows[:, 1:], np.round(255 * (1 - image)))


@pytest.mark.parametrize(("low", "high"), [(-2.2, -0.1), (-9.0, 1.0), (-0.31, -0.29), (0.0, 0.1)])
def test_ticks_lie_in_the_range(low, high):
    ticks = report.log_ticks(low, high)
    assert ticks == sorted(ticks) and all(low <= np.log10(tick) <= high for tick in ticks)
    assert len(ticks) <= 12


def test_a_loss_that_is_not_a_number_leaves_a_gap(findings):
    broken = [epoch._replace(loss=float("nan"), held_loss=0.0) for epoch in findings.epochs]
    assert "nan" not in report.curve(broken)


def test_a_failed_write_leaves_the_old_report_and_nothing_else(findings, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(report.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write(path, findings)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_report_replaces_the_old_one(findings, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    report.write(path, findings)
    assert path.read_text(encoding="utf-8") == report.page(findings) and list(tmp_path.iterdir()) == [path]
