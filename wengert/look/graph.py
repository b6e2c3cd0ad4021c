"""A Wengert list as a picture: an SVG in layers, data flowing downwards, values in the tooltips."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np

from wengert.program import Equation, Literal, Var, WengertList
from wengert.residuals import read

HEIGHT, LAYER, GAP, MARGIN = 42.0, 86.0, 22.0, 16.0  # a node, from layer to layer, between nodes, around the drawing
CHARACTER = 7.4  # the width of one at 12px in a monospaced font, rounded up
SWEEPS = 12
STRAIGHT = 8.0

STYLE = """
.wengert-graph { font: 12px ui-monospace, Menlo, Consolas, monospace; --ink: #1d2733; --quiet: #66758a;
  --node: #ffffff; --line: #b8c3d1; --input: #e3f1ea; --output: #fdecc8; --accent: #2f6f4f; }
@media (prefers-color-scheme: dark) { .wengert-graph { --ink: #e6ebf2; --quiet: #94a3b8;
  --node: #1e2733; --line: #4a5a6e; --input: #1c3a2d; --output: #4a3a12; --accent: #7fc8a2; } }
.wengert-graph rect { fill: var(--node); stroke: var(--line); }
.wengert-graph .input rect { fill: var(--input); stroke: var(--accent); }
.wengert-graph .constant rect { stroke-dasharray: 4 3; }
.wengert-graph .output rect { fill: var(--output); stroke-width: 2; }
.wengert-graph g:hover rect { stroke: var(--ink); }
.wengert-graph text { fill: var(--ink); text-anchor: middle; }
.wengert-graph .op { font-weight: 600; }
.wengert-graph .var { fill: var(--quiet); }
.wengert-graph path { fill: none; stroke: var(--line); stroke-width: 1.4; }
.wengert-graph .head { fill: var(--line); stroke: none; }
"""


@dataclass(eq=False)
class Node:
    """A box of the picture; without text, a bend of an edge that passes through a layer."""

    label: str = ""
    detail: str = ""
    tooltip: str = ""
    kind: str = ""
    layer: int = 0
    x: float = 0.0
    above: list[Node] = field(default_factory=list)
    below: list[Node] = field(default_factory=list)

    @property
    def width(self) -> float:
        return max(len(self.label), len(self.detail)) * CHARACTER + 20 if self.label else 0.0

    @property
    def y(self) -> float:
        return MARGIN + self.layer * LAYER


def svg(program: WengertList, title: str = "", *, names: Sequence[str] = (), inline: bool = False) -> str:
    """The list as SVG text: a box per input, constant and operation, an edge per use.

    A box names the operation, its variable, and that variable's dtype and shape; its tooltip shows the line as it is
    printed and the value in the example. Outputs are tinted. `names` are the user's own for the first inputs. `inline`
    leaves out the XML namespace, which a file of its own needs and an HTML page does not.

    >>> import wengert as wg
    >>> picture = svg(wg.trace(lambda x, y: x * y + x)(2.0, 3.0), "x y + x")
    >>> picture.count("<rect"), picture.count('class="head"')
    (4, 4)
    """
    nodes = _nodes(program, names)
    layers = _layered(nodes)
    _order(layers)
    width = _place(layers)
    height = 2 * MARGIN + max(len(layers) - 1, 0) * LAYER + HEIGHT
    namespace = "" if inline else ' xmlns="http://www.w3.org/2000/svg"'
    parts = [
        f'<svg{namespace} class="wengert-graph" role="img" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.1f} {height:.1f}">',
        f"<title>{escape(title or f'Wengert list of {program.name}')}</title>",
        f"<style>{STYLE}</style>",
    ]
    parts += [_draw_edge(node, child) for node in nodes for child in node.below]
    parts += [_draw_node(node) for node in nodes]
    return "\n".join([*parts, "</svg>"])


# ------------------------------------------------------------------------------------------------- from list to nodes


def _nodes(program: WengertList, names: Sequence[str]) -> list[Node]:
    outputs = {atom for atom in program.outputs if isinstance(atom, Var)}
    made: dict[Var, Node] = {}

    def add(variables: list[Var], label: str, line: str, value: Any, kind: str) -> Node:
        detail = ", ".join(f"{var.name} {var.aval}" for var in variables)
        tooltip = line if value is None else f"{line}\n{_show(value)}"
        kind += " output" if outputs & set(variables) else ""
        node = Node(label, detail, tooltip, kind.strip())
        made.update(dict.fromkeys(variables, node))
        return node

    nodes = [
        add([var], name or "input", f"{var.name}: an input", var.example, "input")
        for var, name in zip_longest(program.inputs, names[: len(program.inputs)])
    ]
    for var, value in program.constants:
        nodes.append(add([var], "constant", f"{var.name}: a constant", read(value), "constant"))
    for eqn in program.equations:
        node = add(eqn.outputs, _label(eqn), repr(eqn), eqn.outputs[0].example, "")
        for atom in eqn.inputs:
            if isinstance(atom, Var):
                made[atom].below.append(node)
                node.above.append(made[atom])
        nodes.append(node)
    return [node for node in nodes if node.kind != "constant" or node.below]


def _label(eqn: Equation) -> str:
    """The operation's name; with the numbers written into the line, and a dot for each variable, where it has any."""
    name = eqn.primitive.name
    if not any(isinstance(atom, Literal) for atom in eqn.inputs):
        return name
    return f"{name}({', '.join(repr(atom) if isinstance(atom, Literal) else '·' for atom in eqn.inputs)})"


def _show(value: Any) -> str:
    return np.array2string(np.asarray(value), precision=6, threshold=24, edgeitems=2)


# ------------------------------------------------------------------------------------------------------------- layout
# Sugiyama, Tagawa and Toda, IEEE Trans. SMC 11(2), 1981: layers by longest path, bends where an edge passes through a
# layer, order by barycentres.


def _layered(nodes: list[Node]) -> list[list[Node]]:
    for node in nodes:  # a Wengert list is in topological order
        node.layer = 1 + max((parent.layer for parent in node.above), default=-1)
    for node in reversed(nodes):  # inputs come down to where they are used
        if not node.above and node.below:
            node.layer = max(min(child.layer for child in node.below) - 1, 0)
    layers: list[list[Node]] = [[] for _ in range(1 + max((node.layer for node in nodes), default=-1))]
    for node in list(nodes):
        layers[node.layer].append(node)
        _bend(node, layers, nodes)
    return layers


def _bend(node: Node, layers: list[list[Node]], nodes: list[Node]) -> None:
    """Lead the edges from `node` past the layers between it and its children: one trunk, which they leave in turn.

    An edge of its own to each child would take a bend per child and layer, and hide the picture behind parallel lines.
    """
    children: dict[int, list[Node]] = {}
    for child in dict.fromkeys(node.below):
        children.setdefault(child.layer, []).append(child)
    node.below = []
    trunk, last = node, max(children, default=0)
    for layer in range(node.layer + 1, last + 1):
        for child in children.get(layer, ()):
            trunk.below.append(child)
            child.above = [trunk if parent is node else parent for parent in child.above]
        if layer < last:
            bend = Node(layer=layer, above=[trunk])
            trunk.below.append(bend)
            layers[layer].append(bend)
            nodes.append(bend)
            trunk = bend


def _order(layers: list[list[Node]]) -> None:
    """Sort each layer by where its neighbours lie, down and up in turn, and keep the order with fewest crossings."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        pairs = list(pairwise(layers))
        for upper, lower in pairs if downwards else reversed(pairs):
            fixed, free = (upper, lower) if downwards else (lower, upper)
            at = {node: k for k, node in enumerate(fixed)}
            centre = {}
            for k, node in enumerate(free):
                neighbours = node.above if downwards else node.below
                centre[node] = sum(at[other] for other in neighbours) / len(neighbours) if neighbours else k
            free.sort(key=centre.__getitem__)
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer, ordered in zip(layers, best, strict=True):
        layer[:] = ordered


def _crossings(layers: list[list[Node]]) -> int:
    count = 0
    for upper, lower in pairwise(layers):
        at = {node: k for k, node in enumerate(lower)}
        seen: list[int] = []
        for node in upper:
            ends = sorted(at[child] for child in node.below)
            count += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


def _place(layers: list[list[Node]]) -> float:
    """Give each node its x, near the mean of its neighbours', and return the width of the drawing."""
    for layer in layers:
        _settle(layer, [0.0] * len(layer))
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            _settle(layer, [_between(node) for node in layer])
    nodes = [node for layer in layers for node in layer]
    left = min((node.x - node.width / 2 for node in nodes), default=0.0) - MARGIN
    for node in nodes:
        node.x -= left
    return max((node.x + node.width / 2 for node in nodes), default=0.0) + MARGIN


def _settle(layer: list[Node], wanted: list[float]) -> None:
    """Place a layer's nodes as near as may be, in least squares, to where they want to be, in order and apart.

    With the least distances taken off, the constraint is "never decreasing": isotonic regression, which pooling
    adjacent violators solves (Barlow and Brunk, JASA 67, 1972).
    """
    offsets, offset = [], 0.0
    for before, node in zip([None, *layer[:-1]], layer, strict=True):
        offset += (before.width + node.width) / 2 + GAP if before else 0.0
        offsets.append(offset)
    pools: list[tuple[float, int]] = []  # mean, count
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want - offset, 1
        while pools and pools[-1][0] > mean:
            other, others = pools.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        pools.append((mean, count))
    settled = [mean for mean, count in pools for _ in range(count)]
    for node, x, offset in zip(layer, settled, offsets, strict=True):
        node.x = x + offset


def _between(node: Node) -> float:
    """The mean of a node's neighbours; from one bend to the next, a straight line counts for more."""
    neighbours = node.above + node.below
    weights = [1.0 if node.label or other.label else STRAIGHT for other in neighbours]
    total = sum(weight * other.x for weight, other in zip(weights, neighbours, strict=True))
    return total / sum(weights) if neighbours else node.x


# ------------------------------------------------------------------------------------------------------------ drawing


def _draw_node(node: Node) -> str:
    if not node.label:
        return ""
    radius = HEIGHT / 2 if node.kind.startswith(("input", "constant")) else 7
    return (
        f'<g class="{node.kind or "operation"}"><title>{escape(node.tooltip)}</title>'
        f'<rect x="{node.x - node.width / 2:.1f}" y="{node.y:.1f}" width="{node.width:.1f}" height="{HEIGHT:.0f}" '
        f'rx="{radius:.0f}"/>'
        f'<text class="op" x="{node.x:.1f}" y="{node.y + 17:.1f}">{escape(node.label)}</text>'
        f'<text class="var" x="{node.x:.1f}" y="{node.y + 33:.1f}">{escape(node.detail)}</text></g>'
    )


def _draw_edge(node: Node, child: Node) -> str:
    """The stretch of an edge from one layer to the next; a bend is a straight way down through its layer."""
    x, tip = child.x, child.y
    top, end = node.y + HEIGHT, tip - 6 if child.label else tip
    middle = (top + end) / 2
    curve = f"M{node.x:.1f} {top:.1f}C{node.x:.1f} {middle:.1f} {x:.1f} {middle:.1f} {x:.1f} {end:.1f}"
    if not child.label:
        return f'<path d="{curve}V{tip + HEIGHT:.1f}"/>'
    head = f"M{x - 4:.1f} {end:.1f}L{x + 4:.1f} {end:.1f}L{x:.1f} {tip:.1f}Z"
    return f'<path d="{curve}"/><path class="head" d="{head}"/>'
