"""Figures that follow the page's theme, and tables that anyone can read."""

import hashlib
import html
import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from bookkit.palette import PALETTE

INK, MUTED, GROUND = (PALETTE[n][0] for n in ("ink", "muted", "ground"))
TOKEN, HIDDEN, POSITION = (
    PALETTE[n][0] for n in ("token", "hidden", "position")
)
QUERY, KEY, VALUE = (PALETTE[n][0] for n in ("query", "key", "value"))
SEGMENT, HEAD, NORM = (PALETTE[n][0] for n in ("segment", "head", "norm"))
ATTENTION, FEED_FORWARD = (
    PALETTE[n][0] for n in ("attention", "feed-forward")
)
LOGIT, LOSS, HIGHLIGHT = (
    PALETTE[n][0] for n in ("logit", "loss", "highlight")
)

NAMES = {light: name for name, (light, _) in PALETTE.items()}
FULL_WITH_VALUES = 0.4  # the fullest colour that ink is readable on
WIDEST = 6.4  # inches; a wider figure scrolls in a box of its own

STYLE: dict[Any, Any] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "bookkit",
    "image.composite_image": False,
    "figure.figsize": (5.6, 3.0),
    "font.size": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "grid.color": MUTED,
    "hatch.color": INK,
    "patch.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.prop_cycle": cycler(
        color=[HIDDEN, ATTENTION, FEED_FORWARD, LOSS, TOKEN]
    ),
}
plt.rcParams.update(STYLE)


class Shown:
    """Something that shows itself as HTML in a page, as text elsewhere."""

    def __init__(self, page: str, text: str):
        self.page, self.text = page, text

    def _repr_html_(self) -> str:
        return self.page

    def __repr__(self) -> str:
        return self.text


def show(
    fig: Figure, alt: str, caption: str | None = None, wide: bool = False
) -> Shown:
    """Turn a figure into one inline SVG whose colours follow the theme.

    Args:
        fig: A matplotlib figure; it is closed.
        alt: What the figure shows, for those who cannot see it.
        caption: A sentence below it.
        wide: Whether it scrolls in a box of its own on a narrow screen.
    """
    if not alt.strip():
        raise ValueError("a figure needs an alternative text")
    inches = fig.get_size_inches()[0]
    if inches > WIDEST and not wide:
        raise ValueError(
            f"the figure is {inches} inches wide, at most {WIDEST} fit; "
            "a wider one says wide=True"
        )
    svg = inline_svg(fig, alt)
    plt.close(fig)
    box = f' style="min-width:{inches * 72:.0f}px"' if wide else ""
    svg = f"<div{box}>{svg}</div>"
    if wide:
        svg = (
            '<div class="figure-wide" tabindex="0" role="group" '
            f'aria-label="wide figure, scrolls">{svg}</div>'
        )
    below = (
        f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    )
    page = f'<figure class="bookkit">{svg}{below}</figure>'
    return Shown(page, f"[figure: {alt}]")


def name_points(ax: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Write names beside points, each where it hides least.

    Args:
        ax: Has its final limits and scales.
        points: Name, x and y; one without a name is only kept clear.
    """
    ax.figure.canvas.draw()  # settles where everything lies
    renderer = ax.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    around = [(7, 0), (-7, 0), (0, 9), (0, -9), (6, 8), (6, -8), (-6, 8)]
    around += [(-6, -8), (0, 20), (0, -20), (16, 12), (16, -12)]
    sides = {1: "left", 0: "center", -1: "right"}
    taken = [
        Bbox.from_bounds(x - 5, y - 5, 10, 10)
        for x, y in (ax.transData.transform((x, y)) for _, x, y in points)
    ]
    frame = ax.get_window_extent(renderer)
    for name, x, y in points:
        best: tuple[float, Any] = (float("inf"), None)
        for right, up in around if name else ():
            text = ax.annotate(
                name,
                (x, y),
                xytext=(right, up),
                textcoords="offset points",
                ha=sides[(right > 0) - (right < 0)],
                va="center",
            )
            box = text.get_window_extent(renderer)
            hidden = sum(overlap(box, other) for other in taken)
            hidden += box.width * box.height - overlap(box, frame)
            if hidden < best[0]:
                if best[1] is not None:
                    best[1].remove()
                best = hidden, text
            else:
                text.remove()
        if best[1] is not None:
            taken.append(best[1].get_window_extent(renderer))


def overlap(one: Bbox, other: Bbox) -> float:
    """The area that two boxes share."""
    both = Bbox.intersection(one, other)
    return 0.0 if both is None else float(both.width * both.height)


def inline_svg(fig: Figure, alt: str) -> str:
    """Draw a figure and name its colours instead of fixing them."""
    stream = io.StringIO()
    metadata = dict.fromkeys(["Date", "Creator", "Format", "Type"])
    fig.savefig(stream, format="svg", metadata=metadata, bbox_inches="tight")
    svg = lighter(stream.getvalue())
    svg = IMAGE.sub(tinted, svg)
    for colour, name in NAMES.items():
        svg = svg.replace(colour, f"var(--fig-{name}, {colour})")
    svg = with_own_ids(svg)
    size = re.search(r'viewBox="0 0 ([\d.]+) [\d.]+"', svg)
    assert size is not None, "matplotlib writes a viewBox"
    opening = (
        f'<svg role="img" aria-label="{html.escape(alt)}" '
        f'style="width:100%;max-width:{float(size[1]) * 4 / 3:.0f}px;'
        "height:auto;background:var(--fig-page, #fff);"
        'stroke-linejoin:round;stroke-linecap:butt" '
        'xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" {size[0]}>'
    )
    return opening + svg[svg.index(">") + 1 :]


def lighter(svg: str) -> str:
    """Leave out what a page does not need, or must not get.

    The style sheet goes because its rule for `*` would hold for the whole
    page; the opening tag says the same for the figure.
    """
    svg = svg[svg.index("<svg") :]
    for unused in (
        "<metadata>.*?</metadata>",
        "<style.*?</style>",
        "<!--.*?-->",
    ):
        svg = re.sub(unused, "", svg, flags=re.DOTALL)
    # Not below one: letters and pictures are scaled by such numbers.
    svg = re.sub(r"([1-9]\d*\.\d{2})\d+", r"\1", svg)
    svg = re.sub(r"\s*<defs>\s*</defs>", "", svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    return re.sub(r" ?\n(?=[A-Za-z\"])", " ", svg)


IMAGE = re.compile(r'<image [^>]*?id="tint-(\d+)-([\w-]+)"[^>]*/>')


def tinted(image: re.Match[str]) -> str:
    """Pour a colour through a picture, for only its alpha is used.

    The colour is then the page's to choose, which it is not within a PNG.
    """
    number, name = image.groups()
    whole = 'x="0" y="0" width="100%" height="100%"'
    return (
        f'<mask id="mask-{number}" maskUnits="userSpaceOnUse" {whole} '
        f'style="mask-type:alpha">{image[0]}</mask>'
        f'<rect {whole} mask="url(#mask-{number})" '
        f'style="fill: {PALETTE[name][0]}"/>'
    )


def with_own_ids(svg: str) -> str:
    """Make the ids of a figure unlike those of the page's other figures."""
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8] + "-"
    svg = re.sub(r' id="(?:matplotlib\.)?[a-z]\w*_\d+"', "", svg)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}', svg)
    return re.sub(r"url\(#", f"url(#{prefix}", svg)


def heatmap(
    ax: Axes,
    matrix: Any,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    signed: bool = False,
    values: bool = False,
    vmax: float | None = None,
    colour: str = ATTENTION,
    negative: str = HIDDEN,
) -> None:
    """Draw a matrix as cells, from transparent to one colour.

    Args:
        matrix: `[rows, columns]` numbers.
        signed: Negative numbers take a second colour.
        values: Write the numbers into the cells, whose colour is then at
            most FULL_WITH_VALUES full, so that they can be read.
        vmax: The number that gets the full colour; the largest, if None.
    """
    matrix = np.asarray(matrix, dtype=float)
    top = vmax or np.abs(matrix).max() or 1.0
    strength = matrix / top * (FULL_WITH_VALUES if values else 1)
    pour(ax, strength, colour)
    if signed:
        pour(ax, -strength, negative)
    for side in ax.spines.values():
        side.set_visible(True)
    height, width = matrix.shape
    if columns is not None:
        ax.set_xticks(
            range(width),
            columns,
            rotation=60,
            ha="right",
            rotation_mode="anchor",
        )
    if rows is not None:
        ax.set_yticks(range(height), rows)
    ax.tick_params(length=0)
    if values:
        write_values(ax, matrix)


def pour(ax: Axes, strength: np.ndarray, colour: str) -> None:
    """Fill cells with a colour, as full as a number from 0 to 1 says.

    Each cell is several pixels wide, so that a browser which smooths
    pictures leaves its middle as it is.
    """
    height, width = strength.shape
    share = max(1, 300 // max(height, width))
    pixels = np.empty((height * share, width * share, 4), dtype=np.uint8)
    pixels[..., :3] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    alpha = np.rint(np.clip(strength, 0, 1) * 255).astype(np.uint8)
    pixels[..., 3] = alpha.repeat(share, 0).repeat(share, 1)
    ax.imshow(
        pixels,
        interpolation="none",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        gid=f"tint-{tint_number(ax)}-{NAMES[colour]}",
    )


def tint_number(ax: Axes) -> int:
    """How many pictures the figure has so far."""
    figure = ax.get_figure()
    assert figure is not None, "axes of a figure"
    return sum(len(each.get_images()) for each in figure.axes)


def mosaic(
    ax: Axes, maps: Any, vmax: float | None = None, colour: str = ATTENTION
) -> None:
    """Draw the maps of all heads of all layers, one small square each.

    Args:
        maps: `[layers, heads, rows, columns]` numbers from 0 up.
        vmax: The number that gets the full colour; the largest, if None.
    """
    maps = np.asarray(maps, dtype=float)
    layers, heads, height, width = maps.shape
    maps = maps / (vmax or maps.max() or 1.0)
    # [layers, heads, rows, columns] -> [layers * rows, heads * columns]
    pour(ax, np.concatenate(np.concatenate(maps, axis=-2), axis=-1), colour)
    places = width * (np.arange(heads) + 0.5) - 0.5
    ax.set_xticks(places, [str(n) for n in range(heads)])
    places = height * (np.arange(layers) + 0.5) - 0.5
    ax.set_yticks(places, [str(n) for n in range(layers)])
    ax.tick_params(length=0)
    for n in range(heads + 1):
        ax.axvline(width * n - 0.5, color=MUTED, linewidth=0.5)
    for n in range(layers + 1):
        ax.axhline(height * n - 0.5, color=MUTED, linewidth=0.5)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set(xlabel="head", ylabel="layer")


def write_values(ax: Axes, matrix: np.ndarray) -> None:
    """Write each number into its cell."""
    for (i, j), value in np.ndenumerate(matrix):
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=9)


def table(
    rows: Sequence[Sequence[Any]],
    header: Sequence[str],
    caption: str | None = None,
) -> Shown:
    """A table with a caption, whose first column names its rows."""
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"a row has not {len(header)} cells, as the header")
    if not all(name.strip() for name in header):
        raise ValueError("every column of a table needs a name")
    lines = [[str(cell) for cell in row] for row in rows]
    numeric = [
        all(map(NUMBER.fullmatch, column))
        for column in zip(*lines, strict=True)
    ] or [False] * len(header)
    head = cells(header, numeric, "th", "th", "col")
    body = "".join(
        f"<tr>{cells(line, numeric, 'th', 'td', 'row')}</tr>" for line in lines
    )
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    label = html.escape(caption or f"table by {header[0]}")
    page = (
        '<div class="bookkit-table" tabindex="0" role="group" '
        f'aria-label="{label}"><table>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
    return Shown(page, plain_table(lines, header, numeric))


# What a column of numbers may hold: with a sign, a power of ten, a unit of
# percent or bytes; what is not a number; or a dash, for none.
NUMBER = re.compile(
    r"[-+−±]?[\d.,\u202f]+(e[-+]?\d+)?\s?(%|×|[kMG]i?B)?|nan|[-–—]|"
)


def cells(
    line: Sequence[str],
    numeric: Sequence[bool],
    first: str,
    other: str,
    scope: str,
) -> str:
    """One row in HTML; what heads a row or column says so."""
    made = []
    for place, (text, number) in enumerate(zip(line, numeric, strict=True)):
        tag = other if place else first
        heads = f' scope="{scope}"' if tag == "th" else ""
        kind = ' class="number"' if number else ""
        made.append(f"<{tag}{heads}{kind}>{html.escape(text)}</{tag}>")
    return "".join(made)


def plain_table(
    lines: Sequence[Sequence[str]],
    header: Sequence[str],
    numeric: Sequence[bool],
) -> str:
    """The same table for a terminal."""
    every = [list(header), *lines]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in every
    )
