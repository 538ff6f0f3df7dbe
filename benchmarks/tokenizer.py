"""From texts to ids, one thread: cold, warm, and unseen after a warm-up."""

import os
import re
from importlib.metadata import distribution
from pathlib import Path

from benchmarks.rivals import POCKET, ROOT
from benchmarks.timing import Contender, compare
from bert import BertTokenizer
from bert.fast_tokenizer import BertTokenizerFast


def english() -> list[str]:
    """The sentences of this book, without its code."""
    return [
        line
        for chapter in sorted((ROOT / "book").glob("[0-9]*.md"))
        for cell in re.split(
            r"^```.*?^```$", chapter.read_text("utf-8"), flags=re.M | re.S
        )
        for line in cell.split("\n")
        if len(line) > 60
    ]


def many_languages() -> list[str]:
    """The messages of Sphinx in all its languages."""
    root = Path(str(distribution("sphinx").locate_file("sphinx/locale")))
    texts = []
    for path in sorted(root.glob("*/LC_MESSAGES/sphinx.po")):
        found = re.findall(
            r'^msgstr "(.{12,})"$', path.read_text("utf-8"), re.M
        )
        texts += found
    return texts


def run() -> list[dict]:
    """Cold on two texts; warm; and unseen text."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    book, messages = english(), many_languages()
    half = len(book) // 2
    return [
        table("the book's English, nothing known", book, None),
        table("Sphinx's messages, nothing known", messages, None),
        table("the book's English, seen before", book, book),
        table(
            "the book's second half, after its first", book[half:], book[:half]
        ),
    ]


def table(title: str, texts: list[str], before: list[str] | None) -> dict:
    """All tokenizers on the same texts, each new and warmed up alike."""
    import nanotoken
    from transformers import BertTokenizer as Theirs

    theirs = Theirs.from_pretrained(POCKET)
    theirs.model_max_length = 10**9  # no warning about lengths
    rust = theirs.backend_tokenizer

    def new(kind):
        tokenizer = kind()
        if before is not None:
            tokenizer(before)
        return tokenizer

    class Nano:
        """nanotoken, asked for lists, as the others give them."""

        def __init__(self):
            path = str(POCKET / "vocab.txt")
            self.inner = nanotoken.Tokenizer.from_vocab(path)
            self.inner.clear_cache()

        def __call__(self, lines: list[str]) -> list[list[int]]:
            return self.inner.encode_batch(lines, parallel=False).to_list()

    def plain(tokenizer) -> list[list[int]]:
        return tokenizer(texts)["input_ids"]

    contenders = [
        Contender("transformers, tok(texts)", plain, 0, lambda: theirs),
        Contender(
            "tokenizers, encode_batch_fast",
            lambda _: [e.ids for e in rust.encode_batch_fast(texts)],
            0,
        ),
        Contender(
            "nanotoken, to_list", lambda t: t(texts), 0, lambda: new(Nano)
        ),
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
            lambda: new(lambda: BertTokenizerFast.from_pretrained(POCKET)),
        ),
    ]
    found = compare(
        f"Tokenizer, one thread: {title}", contenders, unlike, rounds=7
    )
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
