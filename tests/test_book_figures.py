"""The visual language: colours, figures, tables, and the drawings."""

import base64
import io
import re
from html.parser import HTMLParser
from itertools import combinations

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from bookkit import drawing, figures
from bookkit.palette import PALETTE, TOGETHER, css

KINDS = sorted(PALETTE.keys() - {"ink", "muted", "ground"})
THEMES = (0, 1)
# The grounds of pydata-sphinx-theme and of sphinx-book-theme.
GROUNDS = (("#ffffff",), ("#14181e", "#121212"))

# Machado, Oliveira and Fernandes 2009, table of severity 1.0, for linear RGB.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour: str) -> np.ndarray:
    """Linear RGB of a colour."""
    srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(
        srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4
    )


def mixed(colour: str, ground: str, share: float) -> np.ndarray:
    """Linear RGB of a colour that lies on a ground; mixed as browsers do."""
    parts = [
        share * int(colour[i : i + 2], 16)
        + (1 - share) * int(ground[i : i + 2], 16)
        for i in (1, 3, 5)
    ]
    return linear("#" + "".join(f"{round(part):02x}" for part in parts))


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG's ratio between two colours in linear RGB."""
    light, dark = sorted(
        (c @ [0.2126, 0.7152, 0.0722] for c in (one, other)), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson's OKLab of linear RGB, where distances are as they look."""
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return lab @ np.cbrt(cones @ np.clip(rgb, 0, 1))


def distance(one: str, other: str, vision: str) -> float:
    """How far apart two colours look; 0.02 can be seen side by side."""
    matrix = np.array(VISIONS[vision])
    return float(
        np.linalg.norm(
            oklab(matrix @ linear(one)) - oklab(matrix @ linear(other))
        )
    )


def test_the_measures_know_black_and_white():
    black, white = linear("#000000"), linear("#ffffff")
    assert contrast(black, white) == pytest.approx(21)
    assert oklab(white) == pytest.approx([1, 0, 0], abs=1e-4)
    # Red and green differ, but hardly in hue for a deuteranope.
    assert distance("#00ff00", "#ff0000", "usual") > 0.5
    assert distance("#a06000", "#708000", "deuteranopia") < 0.05


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", VISIONS)
def test_colours_of_one_figure_are_told_apart(vision, theme):
    close = {
        (one, other): round(gap, 3)
        for group in TOGETHER
        for one, other in combinations(group, 2)
        if (
            gap := distance(PALETTE[one][theme], PALETTE[other][theme], vision)
        )
        < 0.07
    }
    assert close == {}


@pytest.mark.parametrize("theme", THEMES)
def test_any_two_colours_differ(theme):
    gaps = {
        pair: distance(*(PALETTE[kind][theme] for kind in pair), "usual")
        for pair in combinations(KINDS, 2)
    }
    assert min(gaps.values()) > 0.035, min(gaps, key=gaps.__getitem__)


def test_every_kind_is_in_a_group():
    assert {kind for group in TOGETHER for kind in group} >= set(KINDS)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("kind", [*KINDS, "ink", "muted"])
def test_every_colour_can_be_written_with(kind, theme):
    colour = linear(PALETTE[kind][theme])
    for ground in GROUNDS[theme]:
        assert contrast(colour, linear(ground)) >= 4.5
    # And the ground's colour can be written on it.
    assert contrast(colour, linear(PALETTE["ground"][theme])) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("kind", KINDS)
def test_ink_is_readable_in_a_cell_with_a_value(kind, theme):
    ink = linear(PALETTE["ink"][theme])
    for ground in GROUNDS[theme]:
        cell = mixed(PALETTE[kind][theme], ground, figures.FULL_WITH_VALUES)
        assert contrast(ink, cell) >= 4.5


def test_the_style_sheet_names_every_colour_twice():
    rules = css()
    for name, (light, dark) in PALETTE.items():
        assert f"--fig-{name}:{light};" in rules.split("html[")[0]
        assert f"--fig-{name}:{dark};" in rules.split("html[")[1]


def test_no_two_kinds_share_a_colour():
    for theme in THEMES:
        assert len({pair[theme] for pair in PALETTE.values()}) == len(PALETTE)


# --- figures ---------------------------------------------------------------


def plot():
    """A figure with lines, a legend, a heat map and axes."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
    left.plot([1, 3, 2], label="one")
    left.plot([2, 1, 3], color=figures.QUERY, label="two")
    left.legend()
    figures.heatmap(
        right, [[0.25, -1.0, 0.0], [0.5, 0.0, 1.0]], signed=True, values=True
    )
    return fig


def shown(**options) -> str:
    return figures.show(plot(), alt="Two plots.", **options)._repr_html_()


def test_a_figure_is_the_same_each_time():
    assert shown() == shown()


def test_a_figure_names_its_colours():
    page = shown()
    bare = re.sub(r"var\(--fig-[\w-]+, #[0-9a-f]{3,6}\)", "", page)
    without_ids = re.sub(r'"#?[^"]*"(?=/?>| )', "", bare)
    assert re.findall(r"#[0-9a-f]{6}\b", without_ids) == []
    assert re.findall(r"(?:fill|stroke): #", bare) == []
    for name, (light, _) in PALETTE.items():
        for found in re.finditer(re.escape(light), page):
            before = page[: found.start()]
            assert before.endswith(f"var(--fig-{name}, ")
    for name in ("ink", "muted", "hidden", "query", "attention"):
        assert f"var(--fig-{name}, " in page


def test_a_figure_says_what_it_shows():
    page = figures.show(
        plot(), alt='A "rise" & fall.', caption="1 < 2"
    )._repr_html_()
    assert 'role="img" aria-label="A &quot;rise&quot; &amp; fall."' in page
    assert "<figcaption>1 &lt; 2</figcaption>" in page
    assert repr(figures.show(plot(), alt="A rise.")) == "[figure: A rise.]"


def test_a_figure_holds_nothing_that_reaches_the_page():
    page = shown()
    assert "<style" not in page and "<metadata" not in page
    assert "<!--" not in page and "<script" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    other = figures.show(fig, alt="Another.")._repr_html_()
    assert not set(ids) & set(re.findall(r'\bid="([^"]+)"', other))


def test_a_figure_is_closed():
    fig = plot()
    figures.show(fig, alt="Two plots.")
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_figure_without_alternative_text_is_refused(alt):
    fig = plot()
    with pytest.raises(ValueError, match="needs an alternative text"):
        figures.show(fig, alt=alt)
    plt.close(fig)


def test_a_wide_figure_says_so_and_scrolls_by_keyboard():
    fig, ax = plt.subplots(figsize=(9, 2))
    with pytest.raises(ValueError, match=r"9.0 inches wide, at most 6.4"):
        figures.show(fig, alt="Wide.")
    page = figures.show(fig, alt="Wide.", wide=True)._repr_html_()
    assert '<div class="figure-wide" tabindex="0" role="group"' in page
    assert "min-width:648px" in page


def test_letters_are_large_enough():
    assert plt.rcParams["font.size"] >= 9
    for size in ("axes.titlesize", "axes.labelsize", "xtick.labelsize"):
        assert plt.rcParams[size] in ("medium", "large")


def pictures(page: str) -> dict[str, np.ndarray]:
    """The alpha of each picture of a page, by its colour's name."""
    found = re.findall(
        r'base64,\s*([^"]+)"[^>]*id="\w+-tint-\d+-([\w-]+)"', page
    )
    return {
        name: np.array(Image.open(io.BytesIO(base64.b64decode(data))))[..., 3]
        for data, name in found
    }


@pytest.mark.parametrize("values", [False, True])
def test_a_heat_map_is_as_full_as_its_numbers(values):
    matrix = np.array([[0.25, -1.0, 0.0], [0.5, -0.5, 1.0]])
    fig, ax = plt.subplots()
    figures.heatmap(ax, matrix, signed=True, values=values)
    alpha = pictures(figures.show(fig, alt="Cells.")._repr_html_())
    full = 255 * (figures.FULL_WITH_VALUES if values else 1)
    for name, sign in (("attention", 1), ("hidden", -1)):
        cells = alpha[name][50::100, 50::100]
        wanted = np.rint(np.clip(sign * matrix, 0, 1) * full)
        np.testing.assert_array_equal(cells, wanted)


def test_the_page_chooses_a_heat_map_s_colour():
    fig, ax = plt.subplots()
    figures.heatmap(ax, np.eye(3), colour=figures.QUERY)
    page = figures.show(fig, alt="Cells.")._repr_html_()
    mask = re.search(r'<mask id="([^"]+)"', page)[1]
    assert f'mask="url(#{mask})" style="fill: var(--fig-query, ' in page


def test_a_mosaic_puts_every_map_in_its_place():
    maps = np.random.default_rng(0).random((2, 3, 5, 4))
    fig, ax = plt.subplots(figsize=(4, 3))
    figures.mosaic(ax, maps, vmax=1.0)
    labels = [
        [label.get_text() for label in axis.get_ticklabels()]
        for axis in (ax.yaxis, ax.xaxis)
    ]
    assert labels == [["0", "1"], ["0", "1", "2"]]
    alpha = pictures(figures.show(fig, alt="Maps.")._repr_html_())["attention"]
    share = alpha.shape[0] // 10
    cells = alpha[share // 2 :: share, share // 2 :: share]
    for layer in range(2):
        for head in range(3):
            np.testing.assert_array_equal(
                cells[layer * 5 :, head * 4 :][:5, :4],
                np.rint(maps[layer, head] * 255),
            )


def test_all_maps_of_bert_base_stay_light():
    maps = np.random.default_rng(0).dirichlet([0.3] * 12, (12, 12, 12))
    fig, ax = plt.subplots(figsize=(6.4, 6.4))
    figures.mosaic(ax, maps)
    page = figures.show(fig, alt="Maps.")._repr_html_()
    assert len(page) < 100_000


# --- tables ----------------------------------------------------------------


class Cells(HTMLParser):
    """The cells of a table: tag, attributes, text."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict, str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes), ""))

    def handle_data(self, data):
        tag, attributes, text = self.found[-1]
        self.found[-1] = (tag, attributes, text + data)


ROWS = [["query <q>", 1234, "3.2e-07", "-"], ["key", -5, "1%", "2"]]
HEADER = ["part", "numbers", "error", "rest"]


def test_a_table_names_its_columns_rows_and_itself():
    page = figures.table(ROWS, HEADER, caption="Sizes & errors")._repr_html_()
    cells = Cells(page).found
    heads = [(a["scope"], text) for tag, a, text in cells if tag == "th"]
    assert heads == [
        *(("col", name) for name in HEADER),
        ("row", "query <q>"),
        ("row", "key"),
    ]
    assert [t for tag, _, t in cells if tag == "caption"] == ["Sizes & errors"]
    box = cells[0][1]
    assert (box["tabindex"], box["role"]) == ("0", "group")
    assert box["aria-label"] == "Sizes & errors"


def test_a_table_sets_columns_of_numbers_to_the_right():
    cells = Cells(figures.table(ROWS, HEADER)._repr_html_()).found
    left = [t for _, a, t in cells if t and a.get("class") != "number"]
    assert left == ["part", "query <q>", "key"]


def test_what_is_not_a_number_stands_in_a_column_of_numbers():
    rows = [["0", 1.5e-7, "nancy"], ["1000", float("nan"), "nan"]]
    table = figures.table(rows, ["added", "one pass", "name"])
    cells = Cells(table._repr_html_()).found
    left = [t for _, a, t in cells if t and a.get("class") != "number"]
    assert left == ["name", "nancy", "nan"]


def test_a_table_is_plain_in_a_terminal():
    assert repr(figures.table(ROWS, HEADER)) == (
        "part       numbers    error  rest\n"
        "query <q>     1234  3.2e-07     -\n"
        "key             -5       1%     2"
    )


def test_a_table_without_rows_has_its_header():
    assert "<tbody></tbody>" in figures.table([], HEADER)._repr_html_()


def test_a_misshapen_table_is_refused():
    with pytest.raises(ValueError, match="a row has not 4 cells"):
        figures.table([["a", 1]], HEADER)
    with pytest.raises(ValueError, match="every column .* needs a name"):
        figures.table([["a", 1]], ["", "numbers"])


# --- drawings --------------------------------------------------------------


def test_the_drawings_are_what_the_script_draws():
    drawn = drawing.drawings()
    found = {
        path.name: path.read_text("utf-8")
        for path in drawing.IMAGES.glob("*.svg")
    }
    assert found == drawn
    assert drawing.drawings() == drawn


def test_every_chapter_lights_its_own_part():
    lit = {
        chapter: drawing.strip(chapter, "light").count("fill-opacity='0.18'")
        for chapter in drawing.LIT
    }
    assert lit == {n: len(parts) for n, parts in drawing.LIT.items()}
    assert list(drawing.LIT) == list(range(1, 21))
    drawn = {step for row in drawing.ROWS for step in row}
    assert drawn == drawing.STEPS.keys()
    assert {step for parts in drawing.LIT.values() for step in parts} == drawn


@pytest.mark.parametrize("theme", drawing.THEMES)
def test_drawings_are_light_and_in_their_theme_s_colours(theme):
    own = {pair[drawing.THEMES.index(theme)] for pair in PALETTE.values()}
    for name, svg in drawing.drawings().items():
        if name.endswith(f"-{theme}.svg"):
            assert len(svg) < 30_000
            assert set(re.findall(r"'(#[0-9a-f]{6})'", svg)) <= own
            assert svg.count("<title>") == 1


@pytest.mark.parametrize("number", drawing.LIT)
def test_a_chapter_shows_its_map_and_says_what_is_lit(number):
    book = drawing.IMAGES.parent / "book"
    (chapter,) = book.glob(f"{number:02}-*.md")
    text = chapter.read_text("utf-8")
    for theme in drawing.THEMES:
        assert (
            f"```{{image}} ../images/map-{number:02}-{theme}.svg\n"
            f":class: only-{theme} map\n"
            f":alt: {drawing.chapter_alt(number)}\n```"
        ) in text


def test_symbols_fill_the_cells_they_are_given():
    fig, ax = drawing.canvas(12, 5)
    drawing.tokens(ax, 0, 0, ["when", "in", "rome"])
    drawing.matrix(ax, 3, 1, 2, 4, "X", figures.HIDDEN, "seq", "hidden")
    drawing.vector(ax, 3, 4, 5, "x", figures.QUERY)
    drawing.arrow(ax, (7, 2), (9, 2))
    drawing.operation(ax, 9, 1.5, 2, 1, "times W", figures.KEY)
    words = [text.get_text() for text in ax.texts]
    assert words == [
        *("when", "in", "rome", "X", "seq 2", "hidden 4", "x", "", "times W")
    ]
    cells = [p for p in ax.patches if p.get_linewidth() == 0]
    assert len(cells) == 2 * 4 + 5
    plt.close(fig)


def test_names_of_close_points_do_not_overlap():
    fig, ax = plt.subplots(figsize=(4, 3))
    ax.plot([0, 10], [0, 10])  # sets the limits when it is drawn
    points = [
        ("one", 5.0, 5.0), ("two", 5.3, 5.1), ("three", 9.9, 5.0),
        ("", 6.2, 5.0),
    ]  # fmt: skip
    figures.name_points(ax, points)
    fig.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == ["one", "two", "three"]
    for number, box in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert figures.overlap(box, other) == 0
    frame = ax.get_window_extent()
    assert boxes[2].x1 <= frame.x1
    x, y = ax.transData.transform((6.2, 5.0))
    assert not any(box.contains(x, y) for box in boxes)
    plt.close(fig)
