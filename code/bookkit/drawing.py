"""The map of BERT, in full and as the strip at the head of each chapter.

`python -m bookkit.drawing` writes images/, `--check` compares them with what
it would write, `--alt` prints the strips' alternative texts.
"""

import argparse
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bookkit.palette import PALETTE

IMAGES = Path(__file__).resolve().parents[2] / "images"
THEMES = ("light", "dark")
FONT = "font-family='system-ui, DejaVu Sans, Arial, sans-serif'"


@dataclass(frozen=True)
class Step:
    """One box: what it says, what kind of thing it is, who explains it."""

    label: str
    kind: str
    chapters: tuple[int, ...]


STEPS = {
    "text": Step("text", "ink", ()),
    "clean": Step("clean", "token", (2,)),
    "pieces": Step("wordpieces", "token", (3,)),
    "ids": Step("ids", "token", (3,)),
    "embed": Step("embed", "hidden", (5,)),
    "norm": Step("LayerNorm", "norm", (6,)),
    "attention": Step("attention", "attention", (7, 8)),
    "add-1": Step("add, norm", "norm", (9,)),
    "forward": Step("feed-fwd", "feed-forward", (10,)),
    "add-2": Step("add, norm", "norm", (9,)),
    "head": Step("word head", "logit", (13,)),
    "words": Step("words", "logit", (13,)),
    "file": Step("the file", "ink", (4,)),
    "padding": Step("padding", "token", (12,)),
    "training": Step("training", "loss", (16, 17, 18)),
    "speed": Step("speed", "highlight", (19, 20)),
    "pooler": Step("pooler", "hidden", (14,)),
    "pair": Step("follows?", "logit", (14,)),
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
    shown = [names.get(step, STEPS[step].label) for step in lit]
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
        size: float = 15,
    ) -> None:
        """A rounded box with a label, full when lit."""
        colour = self.colour(kind if lit else "muted")
        fill, opacity = (colour, 0.18) if lit else ("none", 1)
        self.parts.append(
            f"<rect x='{x:g}' y='{y:g}' width='{w:g}' height='{h:g}' rx='6' "
            f"fill='{fill}' fill-opacity='{opacity}' stroke='{colour}' "
            f"stroke-width='{2.4 if lit else 1}'/>"
        )
        ink = "ink" if lit else "muted"
        weight = "600" if lit else "400"
        self.text(x + w / 2, y + h / 2, label, ink, size, weight=weight)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        kind: str = "ink",
        size: float = 13,
        anchor: str = "middle",
        weight: str = "400",
    ) -> None:
        """Words, centred on a point or beginning there."""
        self.parts.append(
            f"<text x='{x:g}' y='{y:g}' {FONT} font-size='{size:g}' "
            f"font-weight='{weight}' fill='{self.colour(kind)}' "
            f"text-anchor='{anchor}' dominant-baseline='central'>"
            f"{escape(words)}</text>"
        )

    def arrow(
        self, points: list[tuple[float, float]], kind: str = "muted"
    ) -> None:
        """A line through points, with a head at its end."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(
            f"<path d='M{path}' fill='none' stroke='{self.colour(kind)}' "
            "stroke-width='1.6' marker-end='url(#tip)'/>"
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
    canvas = Canvas(640, 156, theme, chapter_alt(chapter))
    wide, tall, gap = 96, 34, 11
    lit = LIT[chapter]
    canvas.frame(2, 53, 4 * (wide + gap) + 3, tall + 12)
    canvas.text(4 * (wide + gap) - 6, 104, "× n", "muted", 13)
    for row, steps in enumerate(ROWS):
        y = 8 + 51 * row
        for column, name in enumerate(steps):
            x = 7 + column * (wide + gap)
            step = STEPS[name]
            canvas.box(x, y, wide, tall, step.kind, step.label, name in lit)
            if (row < 2 or name == "pooler") and column < 5:
                canvas.arrow([(x + wide, y + 17), (x + wide + gap, y + 17)])
    return canvas.svg()


FULL_ALT = (
    "Map of BERT from top to bottom. Text is cleaned, cut into wordpieces, "
    "framed by special tokens and turned into ids. Word, segment and position "
    "embeddings are added once and normalized. A layer runs n times, each "
    "time with its own weights: attention with queries, keys, values and an "
    "output projection; add and LayerNorm; feed-forward with up, GELU and "
    "down; add and LayerNorm. Then the masked-word head, dense, GELU, "
    "LayerNorm, and the decoder tied to the word embeddings, gives logits and "
    "ranked words; beside it the pooler and the next-sentence answer."
)


def full_map(theme: str) -> str:
    """The whole map, from top to bottom, for a phone's width too."""
    canvas = Canvas(400, 900, theme, FULL_ALT)
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
    x: float = 60,
    w: float = 240,
) -> None:
    """One box of the full map, with an arrow into it and its chapter."""
    canvas.arrow([(x + w / 2, y - 14), (x + w / 2, y)])
    canvas.box(x, y, w, 34, kind, label, size=14)
    canvas.text(x + w + 10, y + 17, chapter, "muted", 13, anchor="start")


def draw_text_part(canvas: Canvas) -> None:
    """From a line of text to normalized vectors."""
    canvas.box(60, 8, 240, 34, "ink", "a line of text", size=14)
    step_down(canvas, 56, "token", "clean: case, accents, signs", "ch. 2")
    step_down(canvas, 104, "token", "cut into wordpieces", "ch. 3")
    step_down(canvas, 152, "token", "[CLS] … [SEP], ids, segments", "ch. 3")
    for x, kind, label in [
        (24, "hidden", "word"),
        (132, "segment", "segment"),
        (240, "position", "position"),
    ]:
        canvas.arrow([(180, 186), (x + 48, 204)])
        canvas.box(x, 206, 96, 34, kind, label, size=14)
        canvas.arrow([(x + 48, 240), (180, 258)])
    for x in (126, 234):
        canvas.text(x, 223, "+", "ink", 16)
    canvas.text(346, 223, "ch. 5", "muted", 13, anchor="start")
    canvas.text(226, 256, "added once", "muted", 12, anchor="start")
    step_down(canvas, 274, "norm", "LayerNorm", "ch. 6")


def draw_layer(canvas: Canvas) -> None:
    """The part that repeats: sums and norms come after each part."""
    canvas.frame(20, 330, 326, 268)
    canvas.text(340, 344, "× n", "ink", 15, anchor="end", weight="600")
    canvas.arrow([(180, 308), (180, 352)])
    canvas.box(60, 352, 240, 54, "attention", "", size=14)
    canvas.text(180, 369, "attention: q, k, v", "ink", 14, weight="600")
    canvas.text(180, 389, "heads, output projection", "ink", 13)
    canvas.text(352, 379, "ch. 7, 8", "muted", 12, anchor="start")
    step_down(canvas, 424, "norm", "add, then LayerNorm", "ch. 9")
    canvas.arrow([(180, 340), (36, 340), (36, 441), (60, 441)])
    canvas.arrow([(180, 458), (180, 480)])
    canvas.box(60, 480, 240, 44, "feed-forward", "", size=14)
    canvas.text(
        180, 502, "feed-forward: up, GELU, down", "ink", 14, weight="600"
    )
    canvas.text(352, 502, "ch. 10", "muted", 12, anchor="start")
    step_down(canvas, 544, "norm", "add, then LayerNorm", "ch. 9")
    canvas.arrow([(180, 468), (36, 468), (36, 561), (60, 561)])


def draw_heads(canvas: Canvas) -> None:
    """Masked words on the left, the next sentence on the right."""
    canvas.arrow([(180, 578), (180, 612), (120, 612), (120, 626)])
    canvas.arrow([(180, 578), (180, 612), (318, 612), (318, 626)])
    for number, label in enumerate(
        ["dense", "GELU", "LayerNorm", "decoder, tied, + bias"]
    ):
        y = 628 + 46 * number
        kind = "norm" if label == "LayerNorm" else "logit"
        canvas.box(20, y, 200, 32, kind, label, size=14)
        canvas.arrow([(120, y + 32), (120, y + 45)])
    canvas.box(20, 812, 200, 32, "logit", "logits", size=14)
    canvas.arrow([(120, 844), (120, 857)])
    canvas.box(20, 858, 200, 32, "logit", "softmax: ranked words", size=14)
    canvas.text(228, 780, "ch. 13", "muted", 13, anchor="start")
    canvas.box(250, 628, 136, 32, "hidden", "[CLS]: pooler", size=14)
    canvas.arrow([(318, 660), (318, 673)])
    canvas.box(250, 674, 136, 32, "logit", "follows?", size=14)
    canvas.text(318, 722, "ch. 14", "muted", 13)


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
