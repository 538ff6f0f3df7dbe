"""The widgets of the pages: what a cell returns, and what paper shows.

    widgets.tokenizer_view(tokenizer, text)
    widgets.attention_view(tokens, attentions)
    widgets.trace_view(model, tokenizer, text)
    widgets.live_view()

Each returns an object that Jupyter and the book show as HTML: a custom
element with its data, its script, and inside it the table or figure that
stands in its place on paper and where no script runs.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch

from bert.tokenizer import SPECIAL_TOKENS, BertTokenizer
from bert.wordpiece import LONGEST_WORD
from bookkit.trace import Step, Trace
from bookkit.unicode_tables import unicode_tables

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "book" / "_widgets"
EXAMPLE = "When in Rome, do as the [MASK] do."


@dataclass
class Widget:
    """A custom element, its data and what stands in its place.

    Attributes:
        tag: The element's name.
        data: What its script reads, as JSON.
        fallback: HTML for paper and for browsers without scripts.
        scripts: The files under `book/_widgets` that it needs, in order.
    """

    tag: str
    data: dict
    fallback: str
    scripts: list[str]

    def element(self) -> str:
        """Return the element with its data, without its scripts."""
        text = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        # "</script>" inside the data would end it.
        text = text.replace("<", "\\u003c")
        # One line: a blank line would end raw HTML for a Markdown reader.
        fallback = " ".join(self.fallback.split())
        return (
            f'<{self.tag} class="bookkit">{fallback}'
            f'<script type="application/json">{text}</script></{self.tag}>'
        )

    def _repr_html_(self) -> str:
        """Return the element and its scripts, for a notebook or a page."""
        code = "\n".join(
            (SCRIPTS / name).read_text("utf-8") for name in self.scripts
        )
        return f"{self.element()}\n<script>\n{code}</script>"

    def __repr__(self) -> str:
        """Return what a terminal shows."""
        size = len(json.dumps(self.data))
        return f"<{self.tag} with {size:,} bytes of data>"


@dataclass
class TraceWidget(Widget):
    """The widget that follows one number, with all its sums."""

    trace: Trace


def table(caption: str, header: list[str], rows: list[list]) -> str:
    """Return an accessible table; the first column names each row."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{escape(str(first))}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    return (
        '<div class="bookkit-table">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


# --- the tokenizer ---------------------------------------------------------


def tokenizer_data(tokenizer: BertTokenizer) -> dict:
    """Return what the tokenizer's twin in JavaScript needs, but the words."""
    accents = tokenizer.strip_accents
    unknown, start, end, mask = SPECIAL_TOKENS[1:]
    return {
        "flags": {
            "lower": tokenizer.do_lower_case,
            "ideographs": tokenizer.tokenize_chinese_chars,
            "accents": tokenizer.do_lower_case if accents is None else accents,
        },
        "maxCharacters": LONGEST_WORD,
        "special": {
            "unknown": unknown,
            "start": start,
            "end": end,
            "mask": mask,
            "all": list(SPECIAL_TOKENS),
        },
        "unicode": unicode_tables(),
    }


def vocabulary(tokenizer: BertTokenizer) -> str:
    """Return all pieces in the order of their ids, one a line."""
    return "\n".join(tokenizer.tokens)


def tokenizer_view(tokenizer, text: str = EXAMPLE) -> Widget:
    """Let a reader type and watch the tokenizer at work, step by step."""
    data = tokenizer_data(tokenizer) | {
        "vocab": vocabulary(tokenizer),
        "text": text,
    }
    ids = tokenizer.encode(text)
    tokens = tokenizer.convert_ids_to_tokens(ids)
    fallback = table(
        f"“{text}” as tokens",
        ["position", "token", "id"],
        [
            [place, *pair]
            for place, pair in enumerate(zip(tokens, ids, strict=True))
        ],
    )
    scripts = ["widget-base.js", "wordpiece.js", "tokenizer-view.js"]
    return Widget("tokenizer-view", data, fallback, scripts)


# --- attention -------------------------------------------------------------


def attention_view(
    tokens: list[str],
    attentions,
    segments: list[int] | None = None,
    layer: int = 0,
    head: int = 0,
) -> Widget:
    """Show where each head of each layer looks.

    Args:
        tokens: The tokens of one sentence, or of a pair.
        attentions: What the model returns: one tensor
            `[1, heads, seq, seq]` for each layer.
        segments: 0 for each token of the first sentence, 1 for the second.
        layer: The layer to begin with, counted from 0.
        head: The head to begin with, counted from 0.

    Raises:
        ValueError: The weights do not fit the tokens.
    """
    weights = torch.cat([kept.detach() for kept in attentions]).numpy()
    layers, heads, seq = weights.shape[:3]
    if len(tokens) != seq or weights.shape != (layers, heads, seq, seq):
        raise ValueError(
            f"attentions of the shape {list(weights.shape)} do not fit "
            f"{len(tokens)} tokens"
        )
    whole = np.rint(255 * weights).astype(np.uint8)
    data = {
        "tokens": list(tokens),
        "segments": list(segments) if segments is not None else [0] * seq,
        "layers": layers,
        "heads": heads,
        "layer": layer,
        "head": head,
        "weights": base64.b64encode(whole.tobytes()).decode(),
    }
    fallback = attention_figure(tokens, weights[layer, head], layer, head)
    scripts = ["widget-base.js", "attention-view.js"]
    return Widget("attention-view", data, fallback, scripts)


def attention_figure(tokens, weights, layer: int, head: int) -> str:
    """Return one head's map as a drawing, and its facts as a table."""
    cell, margin = 22, 90
    size = margin + cell * len(tokens)
    drawn = []
    for i, token in enumerate(tokens):
        middle = margin + (i + 0.7) * cell
        drawn.append(
            f'<text x="{margin - 6}" y="{middle:.1f}" text-anchor="end">'
            f"{escape(token)}</text>"
            f'<text transform="translate({middle:.1f} {margin - 6}) '
            f'rotate(-90)">{escape(token)}</text>'
        )
        for j, weight in enumerate(weights[i]):
            drawn.append(
                f'<rect x="{margin + j * cell}" y="{margin + i * cell}" '
                f'width="{cell - 1}" height="{cell - 1}" '
                'fill="var(--fig-attention, #8a4b08)" '
                f'fill-opacity="{weight**0.5:.2f}"/>'
            )
    title = f"Layer {layer}, head {head}: where each token looks"
    picture = (
        f'<svg viewBox="0 0 {size} {size}" width="{size}" role="img" '
        f'aria-label="{title}; the table below has the numbers" '
        'font-family="monospace" font-size="13" fill="currentColor" '
        f'style="max-width: 100%; height: auto">{"".join(drawn)}</svg>'
    )
    rows = []
    for token, row in zip(tokens, weights, strict=True):
        best = np.argsort(-row)[:3]
        rows.append([token, *(f"{tokens[j]} {row[j]:.2f}" for j in best)])
    header = ["token", "looks most at", "then at", "then at"]
    return picture + table(title, header, rows)


# --- one number ------------------------------------------------------------

# What each kind of step computes, and the label of the section that builds it.
SOURCES = {
    "decoder": (
        "logit<sub>v</sub> = Σ<sub>d</sub> e<sub>v,d</sub> t<sub>d</sub> "
        "+ c<sub>v</sub>",
        "masked-words-steps",
    ),
    "transform": (
        "t = LayerNorm(GELU(W h + b)): logit<sub>v</sub> = Σ<sub>d</sub> "
        "a<sub>d</sub> GELU(W h + b)<sub>d</sub> + constants, where "
        "a<sub>d</sub> holds the embedding and the norm's scale and root",
        "masked-words-steps",
    ),
    "layers": (
        "x ← LayerNorm(x + attention(x)), x ← LayerNorm(x + "
        "feed-forward(x)), layer after layer, with the roots held",
        "residual-real",
    ),
    "attention": (
        "attention(x) = Σ<sub>n</sub> gathered<sub>n</sub> "
        "W<sub>n</sub><sup>⊤</sup> + b, over the heads n",
        "all-heads-output",
    ),
    "head": (
        "gathered = Σ<sub>j</sub> weight<sub>j</sub> v<sub>j</sub>, over the "
        "tokens j",
        "all-heads-attend",
    ),
    "feed_forward": (
        "feed-forward(x) = W<sub>2</sub> GELU(W<sub>1</sub> x + "
        "b<sub>1</sub>) + b<sub>2</sub>, a sum over the inner features",
        "feed-forward-real",
    ),
    "source": (
        "v<sub>j</sub> = W x<sub>j</sub> + b, and x<sub>j</sub> is again a "
        "sum",
        "one-head-projections",
    ),
}


def section(kind: str) -> dict:
    """Return the link to the section behind a kind of step.

    Raises:
        LookupError: No chapter has the label any more.
    """
    label = SOURCES[kind][1]
    for page in sorted((ROOT / "book").glob("[0-9]*.md")):
        _, found, after = page.read_text("utf-8").partition(f"\n({label})=\n")
        if found:
            title = after.splitlines()[0].lstrip("# ")
            return {
                "text": f"chapter {int(page.name[:2])}, {title}",
                "href": f"{page.stem}.html#{label}",
            }
    raise LookupError(f"no chapter has the label {label}")


def step_data(step: Step, kept: set[str]) -> dict:
    """Return a step as the page reads it; numbers to four decimals."""

    def listed(part):
        name = part.step if part.step in kept else None
        return [part.label, round(part.value, 4), name]

    return {
        "kind": step.kind,
        "short": step.short,
        "title": step.title,
        "value": round(step.value, 4),
        "error": float(f"{step.error:.0e}"),
        "parts": [listed(part) for part in step.parts],
        "rest": listed(step.rest) if step.rest else None,
        "next": step.next,
    }


def reachable(trace: Trace) -> set[str]:
    """Return the names of the steps that a reader can get to."""
    found: set[str] = set()
    waiting = [name for _, name in trace.starts]
    while waiting:
        name = waiting.pop()
        found.add(name)
        step = trace.steps[name]
        behind = [step.next, *(part.step for part in step.parts)]
        waiting += [other for other in behind if other]
    return found


def trace_view(
    model, tokenizer, text: str = EXAMPLE, top_k: int = 3
) -> TraceWidget:
    """Follow the logits of the likeliest words back to the embeddings.

    The object's `trace` has every step; `trace.error` is the largest
    difference between a number and the sum of its parts.
    """
    batch = tokenizer(text, return_tensors="pt")
    ids, segments = batch["input_ids"], batch["token_type_ids"]
    at = int((ids[0] == tokenizer.mask_token_id).nonzero()[0])
    with torch.no_grad():
        best = model(ids, token_type_ids=segments).logits[0, at].topk(top_k)
    numbers = best.indices.tolist()
    words = list(
        zip(tokenizer.convert_ids_to_tokens(numbers), numbers, strict=True)
    )
    tokens = tokenizer.convert_ids_to_tokens(ids[0].tolist())
    trace = Trace(model, tokens, ids, segments, at, words)
    kept = reachable(trace)
    kinds = {
        kind: {"equation": equation, "section": section(kind)}
        for kind, (equation, _) in SOURCES.items()
    }
    data = {
        "starts": [
            {"name": word, "step": name} for word, name in trace.starts
        ],
        "kinds": kinds,
        "steps": {
            name: step_data(step, kept)
            for name, step in trace.steps.items()
            if name in kept
        },
    }
    scripts = ["widget-base.js", "trace-view.js"]
    fallback = trace_table(trace)
    return TraceWidget("trace-view", data, fallback, scripts, trace)


def trace_table(trace: Trace) -> str:
    """Return the way from the first logit along the largest parts."""
    name = trace.starts[0][1]
    rows = []
    while name:
        step = trace.steps[name]
        largest = "; ".join(
            f"{part.label} {part.value:+.4f}" for part in step.parts[:3]
        )
        source = section(step.kind)["text"]
        rows.append([step.title, f"{step.value:.4f}", largest, source])
        behind = [part.step for part in step.parts if part.step]
        name = step.next or (behind[0] if behind else None)
    header = ["number", "value", "its largest parts", "made in"]
    return table("One number, followed back", header, rows)


# --- the live page ---------------------------------------------------------


def live_view(text: str = EXAMPLE) -> Widget:
    """Let a reader run the model in the page; see `bookkit.live`."""
    from bookkit import live

    return live.view(text)
