"""Figures that follow the page's theme, and tables that anyone can read."""

import html
import io
import itertools
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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

# A colour may belong to several kinds of things that never share a figure;
# the style sheet knows it under the first one's name.
NAMES = {light: name for name, (light, _) in reversed(PALETTE.items())}
COUNTER = itertools.count(1)
WIDEST = 6.4  # inches; a wider figure scrolls in a box of its own

STYLE = {
    "svg.fonttype": "path",
    "svg.hashsalt": "bookkit",
    "font.size": 9.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.prop_cycle": matplotlib.cycler(
        color=[HIDDEN, ATTENTION, FEED_FORWARD, LOSS, TOKEN, POSITION]
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
    box = f' style="min-width:{inches * 60:.0f}px"' if wide else ""
    svg = f"<div{box}>{svg}</div>"
    if wide:
        svg = (
            '<div class="figure-wide" tabindex="0" role="region" '
            f'aria-label="{html.escape(alt[:60])}">{svg}</div>'
        )
    below = (
        f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    )
    page = f'<figure class="bookkit">{svg}{below}</figure>'
    return Shown(page, f"[figure: {alt}]")


def inline_svg(fig: Figure, alt: str) -> str:
    """Draw a figure and name its colours instead of fixing them."""
    stream = io.StringIO()
    metadata = dict.fromkeys(["Date", "Creator", "Format", "Type"])
    fig.savefig(stream, format="svg", metadata=metadata, bbox_inches="tight")
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Not below one: the letters are scaled by such numbers.
    svg = re.sub(r"([1-9]\d*\.\d{2})\d+", r"\1", svg)
    for colour, name in NAMES.items():
        svg = svg.replace(colour, f"var(--fig-{name}, {colour})")
    svg = with_own_ids(svg)
    width = re.search(r'width="([\d.]+)pt"', svg)
    points = float(width[1]) if width else 460.0
    opening = (
        f'<svg role="img" aria-label="{html.escape(alt)}" '
        f'style="width:100%;max-width:{points * 4 / 3:.0f}px;height:auto" '
        'xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" '
    )
    box = re.search(r'viewBox="[^"]*"', svg)
    return opening + f"{box[0]}>" + svg[svg.index(">") + 1 :]


def with_own_ids(svg: str) -> str:
    """Make the ids of a figure unlike those of the page's other figures."""
    prefix = f"f{next(COUNTER)}-"
    svg = re.sub(r' id="(?!\w*DejaVu)(\w+_\d+)"', "", svg)
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
        values: Write the numbers into the cells.
        vmax: The number that gets the full colour; the largest, if None.
    """
    matrix = np.asarray(matrix, dtype=float)
    top = vmax or np.abs(matrix).max() or 1.0
    strength = np.clip(matrix / top, -1 if signed else 0, 1)
    height, width = matrix.shape
    for (i, j), share in np.ndenumerate(strength):
        if abs(share) < 1 / 64:
            continue
        fill = colour if share > 0 else negative
        ax.add_patch(
            plt.Rectangle(
                (j - 0.5, i - 0.5),
                1,
                1,
                facecolor=fill,
                alpha=round(abs(share) * 64) / 64,
                linewidth=0,
            )
        )
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    ax.set_aspect("equal", adjustable="box")
    for side in ax.spines.values():
        side.set_visible(True)
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
        write_values(ax, matrix, strength)


def write_values(ax: Axes, matrix: np.ndarray, strength: np.ndarray) -> None:
    """Write each number into its cell, readable on either ground."""
    for (i, j), value in np.ndenumerate(matrix):
        full = abs(strength[i, j]) > 0.6
        ax.text(
            j,
            i,
            f"{value:.2f}",
            ha="center",
            va="center",
            color=GROUND if full else INK,
            fontsize=9,
        )


def table(
    rows: Sequence[Sequence[Any]],
    header: Sequence[str],
    caption: str | None = None,
) -> Shown:
    """A table with a caption, whose first column names its rows."""
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"a row has not {len(header)} cells, as the header")
    head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in header)
    body = "".join(f"<tr>{row_cells(row)}</tr>" for row in rows)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    label = html.escape(caption or header[0])
    page = (
        f'<div class="bookkit-table" tabindex="0" role="region" '
        f'aria-label="{label}"><table>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
    return Shown(page, plain_table(rows, header))


def row_cells(row: Sequence[Any]) -> str:
    """The cells of one row; numbers are set to the right."""
    cells = [f'<th scope="row">{html.escape(str(row[0]))}</th>']
    for value in row[1:]:
        number = re.fullmatch(r"[-+−]?[\d.,]+(e[-+]?\d+)?\s*%?", str(value))
        kind = ' class="number"' if number else ""
        cells.append(f"<td{kind}>{html.escape(str(value))}</td>")
    return "".join(cells)


def plain_table(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> str:
    """The same table for a terminal."""
    lines = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True))
        for line in lines
    )
