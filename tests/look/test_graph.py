"""The picture of a Wengert list: well-formed, complete, and laid out without overlaps."""

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

import wengert as wg
from wengert.look.graph import svg

SPACE = "{http://www.w3.org/2000/svg}"


def several(x, w):
    y = np.tanh(x @ w)
    return np.sum(y * np.sin(x[0]) + np.exp(-y) * x[0] ** 2 + y)


def boxes(picture: str) -> list[tuple[float, float, float]]:
    root = ElementTree.fromstring(picture)
    return [tuple(float(rect.get(key)) for key in ("x", "y", "width")) for rect in root.iter(f"{SPACE}rect")]


def test_every_input_constant_and_operation_has_a_box_with_its_name():
    program = wg.trace(several)(np.ones(3), np.ones((3, 2)))
    root = ElementTree.fromstring(svg(program))
    groups = root.findall(f"{SPACE}g")
    assert len(groups) == len(program.inputs) + len(program.constants) + len(program.equations)
    texts = " ".join(text.text for text in root.iter(f"{SPACE}text"))
    for eqn in program.equations:
        assert eqn.primitive.name in texts
        assert all(var.name in texts for var in eqn.outputs)
    assert sum("output" in group.get("class") for group in groups) == 1


def test_tooltips_hold_shape_dtype_and_value():
    program = wg.trace(lambda x: np.sin(x) * 2.0)(0.5)
    titles = [title.text for title in ElementTree.fromstring(svg(program)).iter(f"{SPACE}title")]
    assert any("sin(x1)" in title and f"{np.sin(0.5):.6f}"[:6] in title for title in titles)
    assert "float64" in svg(program)


def test_boxes_of_a_layer_do_not_overlap():
    layers: dict[float, list[tuple[float, float]]] = {}
    for x, y, width in boxes(svg(wg.trace(several)(np.ones(3), np.ones((3, 2))))):
        layers.setdefault(y, []).append((x, x + width))
    assert len(layers) > 3
    for row in layers.values():
        row.sort()
        assert all(one[1] < other[0] for one, other in itertools.pairwise(row))


def test_the_drawing_holds_its_boxes():
    picture = svg(wg.trace(several)(np.ones(3), np.ones((3, 2))))
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture).groups())
    assert all(x >= 0 and x + w <= width and 0 <= y < height for x, y, w in boxes(picture))


def test_names_of_the_user_and_what_html_would_misread():
    picture = svg(wg.trace(lambda a, b: a * b)(1.0, 2.0), "a < b & c", names=("<mass>",))
    assert "&lt;mass&gt;" in picture and "a &lt; b &amp; c" in picture
    ElementTree.fromstring(picture)


def test_inline_pictures_name_no_address():
    assert "http" not in svg(wg.trace(np.sin)(1.0), inline=True)


@pytest.mark.parametrize("function", [lambda x: x, lambda x: 3.0, lambda x: (x, np.sort(x), x * x)])
def test_degenerate_lists(function):
    ElementTree.fromstring(svg(wg.trace(function)(np.ones(2))))


def test_a_long_list_is_drawn_in_time():
    def chain(x):
        y = x
        for _ in range(300):
            y = np.sin(y) * x
        return y

    picture = svg(wg.trace(chain)(1.0))
    assert len(boxes(picture)) == 601
    assert picture.count("<path") < 4 * 601  # the 300 uses of x leave one trunk, instead of 300 lines side by side
