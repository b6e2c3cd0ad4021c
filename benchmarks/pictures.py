"""The figures as a picture: how many times as long each peer takes, and the curves."""

from __future__ import annotations

from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt


def draw(figures: dict[str, Any], ours: str, path: str) -> None:
    rows = {key: row for key, row in figures.items() if isinstance(row, dict) and ours in row and "title" in row}
    curves = [row for key, row in figures.items() if key.startswith("curve ")]
    height = max(3.0, 0.45 * len(rows)) * bool(rows)
    figure = plt.figure(figsize=(11, height + 4 * len(curves) + 1), layout="constrained")
    grid = figure.add_gridspec(bool(rows) + len(curves), 2, height_ratios=[height] * bool(rows) + [4.0] * len(curves))
    if rows:
        ratios(figure.add_subplot(grid[0, :]), rows, ours)
    for k, curve in enumerate(curves):
        for column, (part, label) in enumerate((("seconds", "seconds a call"), ("peak", "bytes at the peak"))):
            axes = figure.add_subplot(grid[bool(rows) + k, column])
            for who, numbers in curve[part].items():
                points = [(v, y) for v, y in zip(curve["values"], numbers, strict=False) if y]
                if points:
                    axes.loglog(*zip(*points, strict=True), marker="o", label=who)
            axes.set_title(curve["title"])
            axes.set_ylabel(label)
            axes.legend(fontsize="small")
    figure.savefig(path)
    plt.close(figure)


def ratios(axes: Any, rows: dict[str, Any], ours: str) -> None:
    """One line per problem, a dot per contestant."""
    names = sorted({who for row in rows.values() for who, found in row.items() if who not in (ours, "title")})
    for k, who in enumerate(names):
        points = [
            (row[who]["ratio"], place)
            for place, row in enumerate(rows.values())
            if isinstance(row.get(who), dict) and "ratio" in row[who]
        ]
        if points:
            axes.scatter(*zip(*points, strict=True), label=who, marker="osD^v<>*Pph8"[k % 12])
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlabel(f"time ÷ {ours}: to the right of the line it takes longer")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
