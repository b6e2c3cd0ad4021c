"""The tour's report: one HTML file with its style, curves and images inside, so that it can be kept and sent."""

from __future__ import annotations

import base64
import math
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wengert import tree
from wengert.look import graph
from wengert.look.table import Line, cells
from wengert.program import WengertList
from wengert.tour.data import CLASSES, Array, Digits
from wengert.tour.network import Epoch, Gain, Params, probability

SHOWN = 24  # digits in the report


class Derivative(NamedTuple):
    """One way to differentiate a function, what it gives, and how far that is from the truth."""

    method: str
    value: float
    error: float


class Findings(NamedTuple):
    """What the tour found out, step by step."""

    derivatives: Sequence[Derivative]
    exact: str
    lines: Sequence[Line]
    digits: Digits
    difference_error: float
    torch_error: float | None
    epochs: Sequence[Epoch]
    gain: Gain
    example: WengertList
    seed: int


def write(path: Path, findings: Findings) -> None:
    """Write the report to `path`, whole or not at all: a reader never meets half a file."""
    path = path.resolve()
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(page(findings), encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def page(findings: Findings) -> str:
    """The report as HTML that refers to nothing outside itself."""
    digits, last, params = findings.digits, findings.epochs[-1], findings.epochs[-1].params
    torch = "not installed" if findings.torch_error is None else f"{findings.torch_error:.1e}"
    facts = [
        ("accuracy on held-out digits", f"{last.held_accuracy:.1%}"),
        ("cross-entropy on them", f"{last.held_loss:.4f}"),
        ("gradient off central differences", f"{findings.difference_error:.1e}"),
        ("gradient off PyTorch's", torch),
        ("faster by jit", f"{findings.gain.eager / findings.gain.jitted:.1f}×"),
    ]
    names, _ = tree.flatten(({name: name for name in params}, "image", "label"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>wengert tour</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>wengert tour</h1>
<p>A two-layer network, written in plain NumPy, learnt to tell handwritten fours from nines. wengert gave the gradients.
<br>Digits: {escape(digits.source)}; {len(digits.train_y)} to learn from, {len(digits.held_y)} held out. {last.number}
epochs, seed {findings.seed}.</p>
<dl>{"".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for name, value in facts)}</dl>
</header>
<section>
<h2>Learning to tell four from nine</h2>
<p>Cross-entropy after each epoch, on a logarithmic scale. Point at a dot for its numbers.</p>
<div class="wide">{curve(findings.epochs)}</div>
<p>{escape(gained(findings.gain))}</p>
</section>
<section>
<h2>What the network says</h2>
<p>{verdict(last, digits)} Below are the {min(SHOWN, len(digits.held_y))} on which it does worst, each with what the
network takes it for and how probable it thinks that.</p>
<div class="digits">{"".join(_figures(params, digits))}</div>
</section>
<section>
<h2>The graph of one example</h2>
<p>The loss of one digit, as wengert recorded it: each box is a line of the Wengert list, and data flow downwards. Point
at a box for its line and value.</p>
<div class="wide">{graph.svg(findings.example, "the loss of one digit", names=names, inline=True)}</div>
<details><summary>The same as a list</summary><pre>{escape(str(findings.example))}</pre></details>
</section>
<section>
<h2>One derivative, five ways</h2>
<p>d/dx ln(sin x² + eˣ) at 1.5, and the distance from its value to 50 digits, {escape(findings.exact)}.</p>
{_table(("method", "derivative", "error"), [(d.method, repr(d.value), f"{d.error:.1e}") for d in findings.derivatives])}
</section>
<section>
<h2>A Wengert list, read both ways</h2>
<p>(x1 + x2) · sin x1 at (1, 2). Tangents are computed downwards, here for a step of x1 alone; adjoints upwards, from
the result.</p>
{_table(("line", "value", "tangent ↓", "adjoint ↑"), cells(findings.lines))}
</section>
</body>
</html>
"""


def verdict(last: Epoch, digits: Digits) -> str:
    """How many held-out digits are told apart, in a sentence."""
    count = len(digits.held_y)
    wrong = round((1.0 - last.held_accuracy) * count)
    if wrong == 0:
        return f"All {count} held-out digits are told apart."
    return f"Of {count} held-out digits, {wrong} {'is' if wrong == 1 else 'are'} taken for the other."


def gained(gain: Gain) -> str:
    """What `jit` made of one gradient, in a sentence or two."""
    text = (
        f"jit: a gradient in {gain.jitted * 1e6:.0f} µs, eager {gain.eager * 1e6:.0f} µs "
        f"({gain.eager / gain.jitted:.1f}×), after {gain.making * 1e3:.0f} ms of "
        f"{'loading from the disk cache' if gain.cached else 'compiling'}."
    )
    return text if gain.why_numpy is None else f"{text} It runs by NumPy, not native code: {gain.why_numpy}."


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


# ------------------------------------------------------------------------------------------------------------- digits


def _figures(params: Params, digits: Digits) -> Iterable[str]:
    nine = probability(params, digits.held_x)
    label = {0.0: CLASSES[0], 1.0: CLASSES[1]}
    certainty = np.where(digits.held_y == 1.0, nine, 1.0 - nine)
    for k in np.argsort(certainty, kind="stable")[:SHOWN]:
        taken, true = label[float(nine[k] > 0.5)], label[float(digits.held_y[k])]
        sure = max(nine[k], 1.0 - nine[k])
        kind = "right" if taken == true else "wrong"
        note = "" if taken == true else f", but it is a {true}"
        source = png(digits.held_x[k].reshape(digits.shape))
        yield (
            f'<figure class="{kind}"><img alt="a handwritten {true}" src="{source}">'
            f"<figcaption>{taken}{note}<br><small>{sure:.1%}</small></figcaption></figure>\n"
        )


def png(image: Array) -> str:
    """A grey image with values in [0, 1] as a data URL; ink is dark (PNG specification, third edition, §5 and §11)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    grey: NDArray[np.uint8] = np.round(255.0 * (1.0 - np.clip(image, 0.0, 1.0))).astype(np.uint8)
    rows, columns = grey.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    scanlines = b"".join(b"\0" + row.tobytes() for row in grey)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(scanlines, 9)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + content).decode("ascii")


# -------------------------------------------------------------------------------------------------------------- curve

WIDTH, HEIGHT = 760.0, 320.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 96.0, 12.0, 40.0


def curve(epochs: Sequence[Epoch]) -> str:
    """Training and held-out loss over the epochs, as SVG with a logarithmic axis."""
    losses = [value for epoch in epochs for value in (epoch.loss, epoch.held_loss)]
    finite = [value for value in losses if math.isfinite(value) and value > 0.0] or [1.0]
    low, high = math.log10(min(finite)) - 0.05, math.log10(max(finite)) + 0.05
    last = max(epochs[-1].number, 1)

    def across(number: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * number / last

    def down(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(value)) / (high - low)

    size = f'width="{WIDTH:.0f}" height="{HEIGHT:.0f}" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}"'
    parts = [f'<svg class="curve" role="img" {size}>', "<title>cross-entropy over the epochs</title>"]
    for tick in log_ticks(low, high):
        parts.append(f'<path class="grid" d="M{LEFT} {down(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{down(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for number in sorted({round(last * k / 6) for k in range(7)}):
        parts.append(f'<text x="{across(number):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number}</text>')
    parts.append(f'<text x="{across(last / 2):.1f}" y="{HEIGHT - 4}" text-anchor="middle">epoch</text>')
    ends: list[tuple[float, str, str]] = []
    for kind, name in (("loss", "training"), ("held_loss", "held out")):
        points = [(epoch, getattr(epoch, kind)) for epoch in epochs]
        shown = [(epoch, value) for epoch, value in points if math.isfinite(value) and value > 0.0]
        where = " ".join(f"{across(epoch.number):.1f},{down(value):.1f}" for epoch, value in shown)
        parts.append(f'<polyline class="{kind}" points="{where}"/>')
        for epoch, value in shown:
            parts.append(
                f'<circle class="{kind}" cx="{across(epoch.number):.1f}" cy="{down(value):.1f}" r="3"><title>epoch '
                f"{epoch.number}, {name}: {value:.4f}\nheld-out accuracy {epoch.held_accuracy:.1%}</title></circle>"
            )
        if shown:
            ends.append((down(shown[-1][1]), kind, name))
    for k, (y, kind, name) in enumerate(sorted(ends)):
        apart = 15.0 * (k - 0.5) if len(ends) == 2 and abs(ends[0][0] - ends[1][0]) < 15.0 else 0.0
        parts.append(f'<text class="{kind}" x="{WIDTH - RIGHT + 10}" y="{y + 4 + apart:.1f}">{name}</text>')
    return "\n".join([*parts, "</svg>"])


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from 10**low to 10**high: 1, 2 and 5 times powers of ten, or powers alone where these are many."""
    steps = (1, 2, 5) if high - low < 3 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    return [step * 10.0**power for power in powers for step in steps if low <= math.log10(step) + power <= high]


STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --quiet: #5b6b7f; --page: #f7f9fb; --card: #ffffff;
  --line: #dde4ec; --one: #2f6f4f; --two: #b7590c; --wrong: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf2; --quiet: #9aa8ba; --page: #12181f; --card: #1a222c;
  --line: #303c4a; --one: #7fc8a2; --two: #f0a35e; --wrong: #ff7b6b; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
  padding: 1.5rem; max-width: 64rem; }
h1 { margin: 0; font-size: 1.9rem; }
h2 { margin: 0 0 .3rem; font-size: 1.2rem; }
p { margin: .2rem 0 .8rem; color: var(--quiet); overflow-wrap: anywhere; }
small { color: var(--quiet); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.1rem 1.3rem;
  margin: 1.1rem 0; }
dl { display: flex; flex-wrap: wrap; gap: .8rem 2.4rem; margin: 1rem 0; }
dd { margin: 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
dt { color: var(--quiet); }
.wide { overflow-x: auto; }
.curve { display: block; width: 100%; min-width: 34rem; max-width: 60rem; height: auto; fill: var(--quiet);
  font: 12px system-ui, sans-serif; }
.wengert-graph { display: block; margin: 0 auto; }
.curve .grid { stroke: var(--line); }
.curve polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
.curve polyline.loss { stroke: var(--one); }
.curve polyline.held_loss { stroke: var(--two); }
.curve .loss:not(polyline) { fill: var(--one); }
.curve .held_loss:not(polyline) { fill: var(--two); }
.digits { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)); gap: .9rem .8rem; }
figure { margin: 0; text-align: center; line-height: 1.25; }
figcaption { margin-top: .3rem; }
figure img { width: 5.2rem; height: 5.2rem; padding: 4px; background: #ffffff; border: 2px solid var(--line);
  border-radius: 8px; }
figure.wrong img { border-color: var(--wrong); }
figure.wrong figcaption { color: var(--wrong); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem 2.2rem .25rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 500; }
td { font: .9rem ui-monospace, Menlo, Consolas, monospace; white-space: pre; }
pre { overflow-x: auto; font-size: .85rem; }
summary { cursor: pointer; margin-top: .8rem; color: var(--quiet); }
"""
