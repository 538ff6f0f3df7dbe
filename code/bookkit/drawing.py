"""The visual language: symbols for figures, and the map of BERT.

In a figure's axes, one unit is one cell, and y grows downwards:

    fig, ax = drawing.canvas(12, 5)
    drawing.tokens(ax, 0, 0, ["when", "in", "rome"])
    drawing.matrix(ax, 0, 2, 3, 4, "X", figures.HIDDEN, "seq", "hidden")

`python -m bookkit.drawing` writes images/, `--check` compares them with what
it would write, `--alt` prints the strips' alternative texts.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from bookkit.figures import HIDDEN, INK, MUTED, TOKEN, WIDEST
from bookkit.palette import PALETTE

IMAGES = Path(__file__).resolve().parents[2] / "images"
THEMES = ("light", "dark")
FONT = "font-family='system-ui, DejaVu Sans, Arial, sans-serif'"


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Empty axes of so many cells, as wide as a page allows."""
    cell = min(0.45, WIDEST / width)  # inches
    fig, ax = plt.subplots(figsize=(width * cell, height * cell))
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    fig.subplots_adjust(0, 0, 1, 1)
    return fig, ax


def write(ax: Axes, x: float, y: float, words: str, colour: str = INK) -> None:
    """Words, centred on a point."""
    ax.text(x, y, words, ha="center", va="center", color=colour, fontsize=11)


def tokens(
    ax: Axes,
    x: float,
    y: float,
    words: Sequence[str],
    colour: str = TOKEN,
    wide: float = 2,
) -> None:
    """Tokens: a row of chips with rounded corners."""
    for place, word in enumerate(words):
        left = x + place * wide
        operation(ax, left + 0.08, y, wide - 0.16, 1, word, colour)


def operation(
    ax: Axes,
    x: float,
    y: float,
    wide: float,
    high: float,
    words: str,
    colour: str,
) -> None:
    """An operation: a box with rounded corners, tinted, and its name."""
    style = "round,pad=0,rounding_size=0.25"
    for face, alpha, edge in ((colour, 0.18, "none"), ("none", 1, colour)):
        ax.add_patch(
            FancyBboxPatch(
                (x, y),
                wide,
                high,
                boxstyle=style,
                facecolor=face,
                edgecolor=edge,
                alpha=alpha,
            )
        )
    write(ax, x + wide / 2, y + high / 2, words)


def matrix(
    ax: Axes,
    x: float,
    y: float,
    rows: int,
    columns: int,
    name: str = "",
    colour: str = HIDDEN,
    row_axis: str = "",
    column_axis: str = "",
) -> None:
    """A matrix: square cells, its axes written along its sides."""
    for i in range(rows):
        for j in range(columns):
            ax.add_patch(
                Rectangle(
                    (x + j, y + i),
                    1,
                    1,
                    facecolor=colour,
                    alpha=0.18 + 0.14 * ((i + j) % 2),
                    linewidth=0,
                )
            )
    ax.add_patch(
        Rectangle((x, y), columns, rows, facecolor="none", edgecolor=colour)
    )
    write(ax, x + columns / 2, y + rows / 2, name)
    if row_axis:
        words = f"{row_axis} {rows}"
        ax.text(
            x - 0.2, y + rows / 2, words, ha="right", va="center", fontsize=11
        )
    if column_axis:
        write(ax, x + columns / 2, y + rows + 0.5, f"{column_axis} {columns}")


def vector(
    ax: Axes,
    x: float,
    y: float,
    size: int,
    name: str = "",
    colour: str = HIDDEN,
    axis: str = "",
) -> None:
    """A vector: a matrix of one row."""
    matrix(ax, x, y, 1, size, name, colour, column_axis=axis)


def arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float]
) -> None:
    """Where something goes."""
    ax.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={"arrowstyle": "-|>", "color": MUTED, "linewidth": 1.2},
    )


@dataclass(frozen=True)
class Step:
    """One box of the strip: what it says, in lines, and its kind of thing."""

    label: str
    kind: str


STEPS = {
    "text": Step("text", "ink"),
    "clean": Step("clean", "token"),
    "pieces": Step("word\npieces", "token"),
    "ids": Step("ids", "token"),
    "embed": Step("embed", "hidden"),
    "norm": Step("Layer\nNorm", "norm"),
    "attention": Step("attention", "attention"),
    "add-1": Step("add,\nnorm", "norm"),
    "forward": Step("feed-\nforward", "feed-forward"),
    "add-2": Step("add,\nnorm", "norm"),
    "head": Step("word\n head", "logit"),
    "words": Step("words", "logit"),
    "file": Step("the\n file", "ink"),
    "padding": Step("padding", "token"),
    "training": Step("training", "loss"),
    "speed": Step("speed", "highlight"),
    "pooler": Step("pooler", "hidden"),
    "pair": Step("next\n sentence", "logit"),
}
ROWS = (
    ("text", "clean", "pieces", "ids", "embed", "norm"),
    ("attention", "add-1", "forward", "add-2", "head", "words"),
    ("file", "padding", "training", "speed", "pooler", "pair"),
)
LAYER = ("attention", "add-1", "forward", "add-2")
MAIN = ROWS[0] + ROWS[1] + ("pooler", "pair")

# What each chapter lights up.
LIT: dict[int, tuple[str, ...]] = {
    1: MAIN,
    2: ("clean",),
    3: ("pieces", "ids"),
    4: ("file",),
    5: ("embed",),
    6: ("norm",),
    7: ("attention",),
    8: ("attention",),
    9: ("add-1", "add-2"),
    10: ("forward",),
    11: ("embed", "norm", *LAYER),
    12: ("padding", "ids", "attention"),
    13: ("head", "words"),
    14: ("pooler", "pair"),
    15: (*MAIN, "file", "padding"),
    16: ("training", "pieces"),
    17: ("training", "ids"),
    18: ("training", "embed", *LAYER, "head", "pooler", "pair"),
    19: ("speed", *LAYER, "head"),
    20: ("speed", "clean", "pieces", "ids"),
}


def chapter_alt(chapter: int) -> str:
    """What a chapter's strip shows, in words."""
    names = {
        "add-1": "add and LayerNorm after attention",
        "add-2": "add and LayerNorm after feed-forward",
        "forward": "feed-forward",
        "norm": "the embeddings' LayerNorm",
        "embed": "the sum of embeddings",
        "clean": "cleaning",
        "pair": "the next-sentence answer",
        "file": "the checkpoint file",
    }
    lit = LIT[chapter]
    if len(lit) >= len(MAIN):
        return "Map of all steps from text to words; every step is lit."
    shown = [
        names.get(step, STEPS[step].label.replace("\n", "")) for step in lit
    ]
    listed = ", ".join(shown[:-1]) + " and " + shown[-1]
    verb = "are" if len(shown) > 1 else "is"
    return (
        "Map of all steps from text to words; "
        f"{listed if len(shown) > 1 else shown[0]} {verb} lit."
    )


class Canvas:
    """SVG elements in one theme's colours."""

    def __init__(self, width: int, height: int, theme: str, title: str):
        self.size = (width, height)
        self.theme = THEMES.index(theme)
        self.title = title
        self.parts: list[str] = []

    def colour(self, kind: str) -> str:
        """The colour of a kind of thing in this theme."""
        return PALETTE[kind][self.theme]

    def box(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        kind: str,
        label: str,
        lit: bool = True,
        size: float = 14,
    ) -> None:
        """A rounded box with a label of a line or two, full when lit."""
        colour = self.colour(kind if lit else "muted")
        fill, opacity = (colour, 0.18) if lit else ("none", 1)
        self.parts.append(
            f"<rect x='{x:g}' y='{y:g}' width='{w:g}' height='{h:g}' rx='6' "
            f"fill='{fill}' fill-opacity='{opacity}' stroke='{colour}' "
            f"stroke-width='{2.4 if lit else 1}'/>"
        )
        ink = "ink" if lit else "muted"
        weight = "600" if lit else "400"
        lines = label.split("\n")
        for number, line in enumerate(lines):
            middle = y + h / 2 + (number - (len(lines) - 1) / 2) * size * 1.15
            self.text(
                x + w / 2,
                middle,
                line.strip(),
                ink,
                size,
                weight=weight,
                room=w - 8,
            )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        kind: str = "ink",
        size: float = 13,
        anchor: str = "middle",
        weight: str = "400",
        room: float | None = None,
    ) -> None:
        """Words, centred on a point or beginning there.

        Which font a reader has is not known: words that a wide one would
        push out of their room are told how long to be.
        """
        fit = ""
        if room is not None and len(words) * size * 0.62 > room:
            length = min(room, len(words) * size * 0.54)
            fit = f"textLength='{length:g}' lengthAdjust='spacingAndGlyphs' "
        self.parts.append(
            f"<text x='{x:g}' y='{y:g}' {FONT} font-size='{size:g}' "
            f"font-weight='{weight}' fill='{self.colour(kind)}' "
            f"text-anchor='{anchor}' {fit}dominant-baseline='central'>"
            f"{escape(words)}</text>"
        )

    def arrow(
        self,
        points: list[tuple[float, float]],
        kind: str = "muted",
        dashed: bool = False,
    ) -> None:
        """A line through points, with a head at its end."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        dashes = "stroke-dasharray='2 3' " if dashed else ""
        self.parts.append(
            f"<path d='M{path}' fill='none' stroke='{self.colour(kind)}' "
            f"stroke-width='1.6' {dashes}marker-end='url(#tip)'/>"
        )

    def frame(
        self, x: float, y: float, w: float, h: float, kind: str = "muted"
    ) -> None:
        """A dashed frame around several boxes."""
        self.parts.append(
            f"<rect x='{x:g}' y='{y:g}' width='{w:g}' height='{h:g}' rx='9' "
            f"fill='none' stroke='{self.colour(kind)}' "
            "stroke-dasharray='5 4' stroke-width='1.2'/>"
        )

    def svg(self) -> str:
        """The whole drawing."""
        width, height = self.size
        return (
            "<svg xmlns='http://www.w3.org/2000/svg' "
            f"viewBox='0 0 {width} {height}' width='{width}' "
            f"height='{height}' role='img'>\n"
            f"<title>{escape(self.title)}</title>\n"
            "<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' "
            "markerWidth='7' markerHeight='7' orient='auto'>"
            f"<path d='M0 0L8 4L0 8z' fill='{self.colour('muted')}'/>"
            "</marker></defs>\n" + "\n".join(self.parts) + "\n</svg>\n"
        )


def strip(chapter: int, theme: str) -> str:
    """The map in three rows, with one chapter's part lit."""
    canvas = Canvas(480, 174, theme, chapter_alt(chapter))
    wide, tall, gap, pitch = 70, 42, 10, 62
    lit = LIT[chapter]
    canvas.frame(1, pitch - 5, 4 * (wide + gap), tall + 12)
    canvas.text(4, 2 * pitch - 3, "layer, × n", "muted", 12, anchor="start")
    for row, steps in enumerate(ROWS):
        y = 2 + pitch * row + 4 * (row == 2)
        for column, name in enumerate(steps):
            x = 5 + column * (wide + gap)
            step = STEPS[name]
            canvas.box(x, y, wide, tall, step.kind, step.label, name in lit)
            if (row < 2 or name == "pooler") and column < 5:
                middle = y + tall / 2
                canvas.arrow([(x + wide, middle), (x + wide + gap, middle)])
    return canvas.svg()


FULL_ALT = (
    "Map of BERT from top to bottom. Text is cleaned, cut into wordpieces, "
    "framed by special tokens and turned into ids. Word, position and segment "
    "embeddings are added once and normalized. A layer runs n times, each "
    "time with its own weights: attention with queries, keys, values and an "
    "output projection; add and LayerNorm; feed-forward with up, GELU and "
    "down; add and LayerNorm. Then the masked-word head, dense, GELU, "
    "LayerNorm, and the decoder tied to the word embeddings, gives logits and "
    "ranked words; beside it the pooler and the next-sentence answer."
)


def full_map(theme: str) -> str:
    """The whole map, from top to bottom, for a phone's width too."""
    canvas = Canvas(400, 880, theme, FULL_ALT)
    draw_text_part(canvas)
    draw_layer(canvas)
    draw_heads(canvas)
    return canvas.svg()


def step_down(
    canvas: Canvas,
    y: float,
    kind: str,
    label: str,
    chapter: str,
    tall: float = 34,
) -> None:
    """One box of the full map, with an arrow into it and its chapter."""
    canvas.arrow([(180, y - 14), (180, y)])
    canvas.box(60, y, 240, tall, kind, label)
    side(canvas, y + tall / 2, chapter)


def side(canvas: Canvas, y: float, chapter: str) -> None:
    """Which chapter explains what stands to the left."""
    canvas.text(352, y, chapter, "muted", 13, anchor="start")


def draw_text_part(canvas: Canvas) -> None:
    """From a line of text to normalized vectors."""
    canvas.box(60, 4, 240, 34, "ink", "a line of text")
    step_down(canvas, 52, "token", "clean: case, accents, signs", "ch. 2")
    step_down(canvas, 100, "token", "cut into wordpieces", "ch. 3")
    step_down(canvas, 148, "token", "add [CLS], [SEP]; look up ids", "ch. 3")
    for x, kind, label in [
        (24, "hidden", "word"),
        (132, "position", "position"),
        (240, "segment", "segment"),
    ]:
        canvas.arrow([(180, 182), (x + 48, 206)])
        canvas.box(x, 206, 96, 34, kind, label)
        canvas.arrow([(x + 48, 240), (180, 264)])
    for x in (126, 234):
        canvas.text(x, 223, "+", "ink", 16)
    side(canvas, 223, "ch. 5")
    canvas.text(270, 255, "added once", "muted", 13, anchor="start")
    canvas.box(60, 264, 240, 34, "norm", "LayerNorm")
    side(canvas, 281, "ch. 6")


def draw_layer(canvas: Canvas) -> None:
    """The part that repeats: sums and norms come after each part."""
    canvas.frame(24, 314, 322, 266)
    canvas.text(338, 329, "layer, × n", "ink", 14, anchor="end", weight="600")
    side(canvas, 329, "ch. 11")
    canvas.arrow([(180, 298), (180, 346)])
    canvas.box(
        60,
        346,
        240,
        48,
        "attention",
        "attention: query, key, value,\nheads, output projection",
    )
    side(canvas, 370, "ch. 7, 8")
    step_down(canvas, 408, "norm", "add, then LayerNorm", "ch. 9")
    canvas.arrow([(180, 332), (40, 332), (40, 425), (60, 425)])
    canvas.arrow([(180, 442), (180, 472)])
    canvas.box(
        60, 472, 240, 34, "feed-forward", "feed-forward: up, GELU, down"
    )
    side(canvas, 489, "ch. 10")
    step_down(canvas, 520, "norm", "add, then LayerNorm", "ch. 9")
    canvas.arrow([(180, 456), (40, 456), (40, 537), (60, 537)])


def draw_heads(canvas: Canvas) -> None:
    """Masked words on the left, the next sentence on the right."""
    for x in (120, 324):
        canvas.arrow([(180, 554), (180, 596), (x, 596), (x, 614)])
    canvas.text(126, 606, "each token", "muted", 13, anchor="start")
    canvas.text(318, 606, "[CLS]", "muted", 13, anchor="end")
    parts = (
        ("logit", "dense"),
        ("logit", "GELU"),
        ("norm", "LayerNorm"),
        ("logit", "decoder and bias"),
        ("logit", "logits"),
        ("ink", "softmax: ranked words"),
    )
    for number, (kind, label) in enumerate(parts):
        y = 614 + 44 * number
        canvas.box(24, y, 192, 32, kind, label)
        if number:
            canvas.arrow([(120, y - 12), (120, y)])
    canvas.text(224, 718, "ch. 13", "muted", 13, anchor="start")
    # The decoder's weights are the word embeddings.
    canvas.arrow([(24, 223), (8, 223), (8, 762), (24, 762)], "hidden", True)
    canvas.text(224, 754, "weights tied to the", "muted", 13, anchor="start")
    canvas.text(224, 770, "word embeddings", "muted", 13, anchor="start")
    canvas.box(254, 614, 140, 42, "hidden", "pooler:\ndense, tanh")
    canvas.arrow([(324, 656), (324, 668)])
    canvas.box(254, 668, 140, 42, "logit", "does the second\npart follow?")
    canvas.text(324, 724, "ch. 14", "muted", 13)


def drawings() -> dict[str, str]:
    """Every file of images/, by its name."""
    files = {f"map-{theme}.svg": full_map(theme) for theme in THEMES}
    for chapter in LIT:
        for theme in THEMES:
            files[f"map-{chapter:02}-{theme}.svg"] = strip(chapter, theme)
    return files


def main() -> int:
    """Write the drawings, check them, or print their alternative texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--alt", action="store_true")
    arguments = parser.parse_args()
    if arguments.alt:
        for chapter in LIT:
            print(f"{chapter:02}  {chapter_alt(chapter)}")
        return 0
    wanted = drawings()
    found = {path.name: path for path in IMAGES.glob("*.svg")}
    differ = [
        name
        for name in sorted(wanted.keys() | found.keys())
        if name not in found
        or found[name].read_text("utf-8") != wanted.get(name)
    ]
    if not arguments.check:
        IMAGES.mkdir(exist_ok=True)
        for name in differ:
            if name in wanted:
                (IMAGES / name).write_text(wanted[name], encoding="utf-8")
            else:
                found[name].unlink()
    print(f"{len(wanted)} drawings, {len(differ)} differed")
    return 1 if arguments.check and differ else 0


if __name__ == "__main__":
    sys.exit(main())
