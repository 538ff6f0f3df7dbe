"""The model for the live page: weights in int8, as scripts that a page loads.

A matrix keeps one scale for each row, the row's largest absolute value divided
by 127, and for each weight the whole number of scales nearest to it: 1 byte. A
second set of bytes, loaded only on demand, says what that rounding left
over, in steps of a 254th of a scale. With it the page computes a second
time, 254 times finer, and so knows the error of int8 on any input.

The parts are written into the built pages when a build ends, never into the
repository. The module is a Sphinx extension: add `bookkit.live`.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sphinx.errors import ExtensionError

from bert import BertForMaskedLM, BertTokenizer, fill_mask
from bookkit import checkpoint_path
from bookkit.checkpoint import POCKET_BERT
from bookkit.widgets import Widget, table, tokenizer_data, vocabulary

PAGE = "live"  # the page, by the end of its name, that needs the parts
LIMIT = 64_000_000  # bytes: what a page should ask of a phone at most
LONGEST = 64  # tokens that the page takes
LARGEST = 127  # of the whole numbers that stand for weights
STEPS = 2 * LARGEST  # into which half a step either way is cut


# --- rounding --------------------------------------------------------------


def rounded(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the scales, the int8 numbers and what they leave over."""
    scale = np.abs(matrix).max(axis=1, keepdims=True) / np.float32(LARGEST)
    scale[scale == 0] = 1.0  # a row of zeros
    exact = matrix / scale
    coarse = np.rint(exact)
    rest = np.rint((exact - coarse) * STEPS)
    return scale[:, 0], coarse.astype(np.int8), rest.astype(np.int8)


def rounded_model(model: BertForMaskedLM, fine: bool) -> BertForMaskedLM:
    """Return a copy of the model with the weights that the page has."""
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for weight in copied.parameters():
            if weight.dim() == 2:
                scale, coarse, rest = rounded(weight.numpy())
                numbers = coarse + (rest / np.float32(STEPS) if fine else 0)
                weight.copy_(torch.from_numpy(scale[:, None] * numbers))
    return copied


# --- the parts -------------------------------------------------------------


def part_of(name: str) -> str:
    """Return the part in which a tensor is stored."""
    if name.startswith("layers."):
        return f"layer-{int(name.split('.')[1]) + 1:02}"
    return "embeddings" if name.startswith("embedding") else "head"


class Blob:
    """Tensors one behind the other, each at a multiple of four bytes."""

    def __init__(self):
        self.bytes = bytearray()
        self.tensors: list[dict] = []

    def add(self, name: str, shape, *arrays: np.ndarray) -> None:
        """Store the arrays of one tensor."""
        self.bytes += b"\0" * (-len(self.bytes) % 4)
        offset = len(self.bytes)
        self.tensors.append(
            {"name": name, "shape": list(shape), "offset": offset}
        )
        for array in arrays:
            self.bytes += array.tobytes()


def blobs(model: BertForMaskedLM) -> tuple[dict[str, Blob], dict[str, Blob]]:
    """Return the parts, and the parts with what int8 left over."""
    parts: dict[str, Blob] = {}
    rests: dict[str, Blob] = {}
    for full_name, weight in model.named_parameters():
        name = full_name.removeprefix("bert.")
        part = parts.setdefault(part_of(name), Blob())
        array = weight.detach().numpy()
        if array.ndim == 1:
            part.add(name, array.shape, array)
            continue
        scale, coarse, rest = rounded(array)
        part.add(name, array.shape, scale, coarse)
        rests.setdefault(part_of(name), Blob()).add(name, array.shape, rest)
    return parts, rests


# --- which model -----------------------------------------------------------


def why_not(model: BertForMaskedLM) -> str | None:
    """Say why a model does not fit into the page, or None if it does."""
    size = sum(weight.numel() for weight in model.parameters())
    if size > LIMIT:
        return (
            f"it is {size / 1e6:.0f} MB in int8, more than the "
            f"{LIMIT / 1e6:.0f} MB that a page should load"
        )
    if model.config.hidden_act != "gelu":
        return f"its activation is {model.config.hidden_act}, not gelu"
    if not model.config.tie_word_embeddings:
        return "its decoder is not tied to the word embeddings"
    return None


class Export:
    """The model that the page gets, and why it is not the book's, if so.

    Attributes:
        name: The name of the model in the page.
        asked: The name of the checkpoint that the book is made with.
        reason: Why that one is not in the page, or None.
        folder: Where the files go, below the built pages.
        files: What to write, by file name.
        manifest: What the page must know before it loads anything.
    """

    def __init__(self, folder: Path):
        self.asked = self.name = model_name(folder)
        self.model = BertForMaskedLM.from_pretrained(folder)
        self.reason = why_not(self.model)
        if self.reason:
            folder, self.name = POCKET_BERT, model_name(POCKET_BERT)
            self.model = BertForMaskedLM.from_pretrained(folder)
        self.tokenizer = BertTokenizer.from_pretrained(folder)
        self.files: dict[str, bytes | str] = {}
        parts, rests = blobs(self.model)
        words = vocabulary(self.tokenizer)
        self.files["words.js"] = words
        config = self.model.config
        self.manifest: dict[str, Any] = {
            "name": self.name,
            "instead": self.instead(),
            "config": {
                "hidden": config.hidden_size,
                "layers": config.num_hidden_layers,
                "heads": config.num_attention_heads,
                "epsilon": config.layer_norm_eps,
            },
            "longest": min(LONGEST, config.max_position_embeddings),
            "parts": self.file_all(parts, ""),
            "rests": self.file_all(rests, "-rest"),
            "words": {"file": "words.js", "bytes": len(words.encode())},
            "tokenizer": tokenizer_data(self.tokenizer),
        }
        self.folder = f"_static/live/{self.fingerprint()}"
        self.manifest["folder"] = self.folder

    def instead(self) -> str | None:
        """Say that another model is in the page than the book's, and why."""
        if self.reason is None:
            return None
        return (
            f"This copy of the book was made with {self.asked}, which is not "
            f"in this page: {self.reason}. Here is {self.name} in its place; "
            "its numbers are not those of the chapters."
        )

    def file_all(self, parts: dict[str, Blob], ending: str) -> list[dict]:
        """Take up the parts; returns what the page must know of them."""
        described = []
        for part, blob in parts.items():
            file = f"{part}{ending}.js"
            self.files[file] = bytes(blob.bytes)
            described.append(
                {
                    "file": file,
                    "bytes": len(as_script(file, self.files[file])),
                    "tensors": blob.tensors,
                }
            )
        return described

    def fingerprint(self) -> str:
        """Return a name that no other weights have."""
        digest = hashlib.sha256()
        for name, content in self.files.items():
            digest.update(name.encode())
            digest.update(
                content.encode() if isinstance(content, str) else content
            )
        return digest.hexdigest()[:12]

    def write(self, built: Path) -> Path:
        """Write the files into a folder of built pages."""
        folder = built / self.folder
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            script = as_script(name, content)
            (folder / name).write_text(script, "utf-8")
        return folder


def as_script(name: str, content: bytes | str) -> str:
    """Return a part as a script: all that a page from a disk may load."""
    if isinstance(content, bytes):
        content = base64.b64encode(content).decode()
    return f"BertParts.receive({json.dumps(name)}, {json.dumps(content)});\n"


def model_name(folder: Path) -> str:
    """Return what to call a checkpoint."""
    for part in folder.parts:  # the hub's cache: models--owner--name
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/")
    return folder.name


@cache
def export(folder: Path) -> Export:
    """Return the export of a checkpoint; made once, it takes seconds."""
    return Export(folder)


# --- the page --------------------------------------------------------------


def view(text: str) -> Widget:
    """Return the live page's widget; see `bookkit.widgets.live_view`."""
    made = export(checkpoint_path())
    guesses = fill_mask(made.model, made.tokenizer, text)
    fallback = table(
        f"What {made.name} guesses for “{text}”",
        ["word", "probability"],
        [[guess.token, f"{guess.probability:.3f}"] for guess in guesses],
    )
    if instead := made.instead():
        fallback = f"<p>{escape(instead)}</p>{fallback}"
    scripts = [
        "widget-base.js", "wordpiece.js", "attention-view.js",
        "bert-engine.js", "weight-parts.js", "live-bert.js",
    ]  # fmt: skip
    return Widget(
        "live-bert", made.manifest | {"text": text}, fallback, scripts
    )


def write_parts(app, exception) -> None:
    """Write the weights into the built pages, if the live page is there."""
    pages = {name.rpartition("/")[2] for name in app.env.all_docs}
    if exception or app.builder.format != "html" or PAGE not in pages:
        return
    made = export(checkpoint_path())
    built = Path(app.outdir)
    page = next(built.rglob(f"{PAGE}.html")).read_text("utf-8")
    if made.folder not in page:
        raise ExtensionError(
            f"{PAGE}.html was made for other weights than {made.name}'s: "
            "remove the build folder and build again"
        )
    made.write(built)


def setup(app) -> dict:
    """Connect to Sphinx."""
    app.connect("build-finished", write_parts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
