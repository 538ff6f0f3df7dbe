"""From texts to ids, one thread: cold, warm, and unseen after a warm-up."""

import ast
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from importlib.metadata import distribution, version
from pathlib import Path

from benchmarks.rivals import POCKET
from benchmarks.timing import Contender, compare
from bert import BertTokenizer
from bert.fast_tokenizer import BertTokenizerFast

# The sha256 of all texts from a package, at its version in requirements.txt.
PINNED = {
    "docutils": (
        "c79ce8c835700b9db14576e891888bd65f766323be2b9c9d5ab838c66db98458"
    ),
    "sphinx": (
        "f942ae47fa544f95e4d01b3a560f1be3b6b889095ef1429902ef697ef509d657"
    ),
}
NANO_BARE = "nanotoken, memory of one"


def folder(package: str, path: str) -> Path:
    """Where a part of an installed package lies."""
    return Path(str(distribution(package).locate_file(path)))


def english() -> list[str]:
    """The paragraphs of docutils' docstrings, each on one line."""
    return [
        " ".join(paragraph.split())
        for path in sorted(folder("docutils", "docutils").rglob("*.py"))
        for docstring in docstrings(path)
        for paragraph in docstring.split("\n\n")
        if len(paragraph) > 60
    ]


def docstrings(path: Path) -> Iterator[str]:
    """All docstrings of a module, that of the module first."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def many_languages() -> list[str]:
    """The messages of Sphinx in all its languages."""
    return [
        message
        for path in sorted(
            folder("sphinx", "sphinx/locale").glob("*/LC_MESSAGES/sphinx.po")
        )
        for message in re.findall(
            r'^msgstr "(.{12,})"$', path.read_text("utf-8"), re.M
        )
    ]


def pinned(package: str, texts: list[str]) -> list[str]:
    """The same texts, once their hash is the one they were pinned by.

    Raises:
        ValueError: They are others, so that rates of other runs would be
            compared with rates on another text.
    """
    found = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    if found != PINNED[package]:
        raise ValueError(
            f"{len(texts)} texts from {package} {version(package)} have the "
            f"sha256 {found}, wanted {PINNED[package]}: install the version "
            "that requirements.txt names, or pin the new texts"
        )
    return texts


def run() -> list[dict]:
    """Cold on two texts; warm; and unseen text."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    prose = pinned("docutils", english())
    messages = pinned("sphinx", many_languages())
    half = len(prose) // 2
    return [
        table("docutils' docstrings, nothing known", prose, None),
        table("Sphinx's messages, nothing known", messages, None),
        table("docutils' docstrings, seen before", prose, prose),
        table(
            "docutils' docstrings, second half after the first",
            prose[half:],
            prose[:half],
        ),
    ]


def table(title: str, texts: list[str], before: list[str] | None) -> dict:
    """All tokenizers on the same texts, each new and warmed up alike."""
    import nanotoken
    from transformers import BertTokenizer as Theirs

    theirs = Theirs.from_pretrained(POCKET)
    theirs.model_max_length = 10**9  # no warning about lengths
    rust = theirs.backend_tokenizer
    all_entries = nanotoken.get_cache_entries()

    class Nano:
        """nanotoken, asked for lists, as the others give them."""

        def __init__(self, entries: int):
            # The limit holds for all tokenizers that are filled from now on.
            nanotoken.set_cache_entries(entries)
            path = str(POCKET / "vocab.txt")
            self.inner = nanotoken.Tokenizer.from_vocab(path)
            self.inner.clear_cache()

        def __call__(self, lines: list[str]) -> list[list[int]]:
            return self.inner.encode_batch(lines, parallel=False).to_list()

    def new(make: Callable) -> Callable[[], Callable]:
        def prepare() -> Callable:
            tokenizer = make()
            if before is not None:
                tokenizer(before)
            return tokenizer

        return prepare

    def plain(tokenizer) -> list[list[int]]:
        return tokenizer(texts)["input_ids"]

    def nano(tokenizer) -> list[list[int]]:
        return tokenizer(texts)

    contenders = [
        Contender("transformers, tok(texts)", plain, 0, lambda: theirs),
        Contender(
            "tokenizers, encode_batch_fast",
            lambda _: [e.ids for e in rust.encode_batch_fast(texts)],
            0,
        ),
        Contender(
            "nanotoken, to_list", nano, 0, new(lambda: Nano(all_entries))
        ),
        # One entry of each kind is the least that nanotoken may keep.
        Contender(NANO_BARE, nano, 0, new(lambda: Nano(1))),
        Contender(
            "bert, BertTokenizer",
            plain,
            0,
            lambda: BertTokenizer.from_pretrained(POCKET),
        ),
        Contender(
            "bert, BertTokenizerFast",
            plain,
            0,
            new(lambda: BertTokenizerFast.from_pretrained(POCKET)),
        ),
    ]
    found = compare(
        f"Tokenizer, one thread: {title}", contenders, unlike, rounds=21
    )
    nanotoken.set_cache_entries(all_entries)
    found["notes"] = {
        "texts": f"{len(texts):,}",
        "characters": f"{sum(map(len, texts)):,}",
    }
    return found


def unlike(found: list, wanted: list) -> float:
    """How many texts got other ids."""
    return float(
        sum(list(a) != list(b) for a, b in zip(found, wanted, strict=True))
    )
