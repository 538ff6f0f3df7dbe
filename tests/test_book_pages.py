"""The audit finds every kind of fault, and the book's own pages have none."""

import base64
import copy
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
import yaml
from myst_nb.core.utils import coalesce_streams

from bookkit import tangle
from bookkit.audit import audit, glossary_terms
from bookkit.audit_files import BUDGET, Page, audit_files
from bookkit.pdf import one_page, print_pdf

ROOT = Path(__file__).parents[1]
JUPYTER_BOOK = Path(sys.executable).with_name("jupyter-book")

# --- seeded faults ---------------------------------------------------------

# Each is put into a page that is right otherwise: (kind, HTML of the fault).
FAULTS = {
    "external-script": (
        "external",
        '<script src="https://cdn.example/library.js"></script>',
    ),
    "external-style": (
        "external",
        "<style>p { background: url(//cdn.example/paper.png); }</style>",
    ),
    "external-fetch": (
        "external",
        "<script>fetch('http://cdn.example/').catch(() => {});</script>",
    ),
    "console-error": ("console", "<script>console.error('no')</script>"),
    "console-exception": ("console", "<script>missing();</script>"),
    "failed-request": (
        "failed",
        "<script>new Image().src = 'missing.png';</script>",
    ),
    "axe-button": ("axe", "<button></button>"),
    "axe-contrast": ("axe", '<p style="color: #bbb">too pale</p>'),
    "axe-invisible": ("axe", '<p style="color: #fff">not to be seen</p>'),
    "axe-in-the-dark": (
        "axe",
        "<style>@media (prefers-color-scheme: dark)"
        " { .pale { color: #444; } }</style><p class=pale>in the dark</p>",
    ),
    "axe-folded": (
        "axe",
        "<details><summary>open</summary><button></button></details>",
    ),
    "axe-menu": (
        "axe",
        '<div class="dropdown-menu"><button></button></div>',
    ),
    "overflow-page": ("overflow", '<p style="width: 60rem">too wide</p>'),
    "overflow-cut": (
        "overflow",
        '<p style="overflow: hidden; white-space: nowrap; width: 5rem">'
        "longer than its box</p>",
    ),
    "overflow-left": (
        "overflow",
        '<div tabindex="0" style="overflow: auto; width: 5rem; display: flex;'
        ' flex-direction: row-reverse"><p style="flex: none">longer than its'
        " box</p></div>",
    ),
    "math-raw": ("math", '<span class="math">\\(\\sqrt{d}\\)</span>'),
    "math-wrong": (
        "math",
        '<code class="katex-error">\\frac{1}</code>',
    ),
    "alt-missing": ("alt axe", '<img src="dot.png">'),
    "alt-file-name": ("alt", '<img src="dot.png" alt="_images/dot.png">'),
    "alt-drawing": (
        "alt axe",
        '<svg role="img" width="9" height="9"></svg>',
    ),
    "links-page": ("links", '<a href="nowhere.html">nowhere</a>'),
    "links-anchor": ("links", '<a href="right.html#gone">gone</a>'),
    "links-id": ("links", '<p id="twice">one</p><p id="twice">two</p>'),
    "keyboard-reach": (
        "keyboard",
        '<details><summary tabindex="-1">fold</summary>text</details>',
    ),
    "keyboard-dead": (
        "keyboard",
        '<button class="toggle-button" aria-expanded="false">fold</button>',
    ),
    "copy-no-button": (
        "copy",
        '<div class="highlight"><pre>numbers = []</pre></div>',
    ),
    "copy-mark": (
        "copy",
        '<div class="cell_input"><div class="highlight"><pre>#| id: piece\n'
        "</pre><button class=copybtn onclick=\"this.className += ' done'\">"
        "Copy</button></div></div>",
    ),
    "download-none": ("download", '<div class="cell">a cell</div>'),
    "weight": ("weight", None),
}
DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>A page</title>
<meta name="viewport" content="width=device-width">
<meta name="description" content="A page.">
<link rel="icon" href="data:,">
<style>
:root { color: #000; background: #fff; }
@media (prefers-color-scheme: dark) {
  :root { color: #fff; background: #000; }
  a { color: #8cf; }
}
</style>
</head>
<body><main><article>
<h1 id="top">A page</h1>
<p>With a <a href="right.html#top">link</a>.</p>
FAULT
</article></main></body>
</html>
"""


def page(fault: str) -> str:
    """A page that is right, but for the fault."""
    return PAGE.replace("FAULT", fault)


def heavy() -> str:
    """A comment that compresses badly, as heavy as a page may be."""
    import hashlib

    digits = "".join(
        hashlib.sha256(str(n).encode()).hexdigest()
        for n in range(BUDGET // 32 + 2048)
    )
    return f"<!-- {digits} -->"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """What the audit finds in a folder of faulty pages."""
    root = tmp_path_factory.mktemp("faulty")
    (root / "dot.png").write_bytes(DOT)
    (root / "right.html").write_text(page(""), "utf-8")
    for name, (_, fault) in FAULTS.items():
        text = page(heavy() if fault is None else fault)
        (root / f"{name}.html").write_text(text, "utf-8")
    return audit(root)


@pytest.mark.parametrize("part", ["description", "icon"])
def test_the_audit_finds_a_page_without(part, tmp_path):
    lines = page("").splitlines(True)
    bare = "".join(x for x in lines if f'"{part}"' not in x)
    found = []
    audit_files(tmp_path, {"a.html": Page(bare)}, lambda *x: found.append(x))
    heads = [fault for fault in found if fault[0] == "head"]
    assert heads == [("head", "a.html", "files", f"no {part}")]


@pytest.mark.parametrize("name", FAULTS)
def test_the_audit_finds(faulty, name):
    kinds, _ = FAULTS[name]
    assert faulty.kinds(f"{name}.html") == set(kinds.split())


def test_the_audit_finds_nothing_in_a_right_page(faulty):
    assert faulty.kinds("right.html") == set()


def test_a_fault_of_the_phone_is_told_as_one(faulty):
    [modes] = [
        modes
        for (kind, place, _), modes in faulty.faults.items()
        if place == "overflow-page.html" and "sideways" in _
    ]
    assert modes == ["phone"]


# --- a small book, built with the real configuration ------------------------

FRONT = tangle.FRONT_MATTER + "\n"
CHAPTER = (
    FRONT
    + r"""# Halving

```{image} ../images/map.svg
:class: only-light map
:alt: A strip with one part lit.
```

The {term}`half` of $x$ is given by {eq}`half-formula`, see
{cite:t}`knuth1997art`.

$$
\operatorname{half}(x) = \frac{x}{2}
$$ (half-formula)

(halving-code)=
## The code

Five halves: **{glue:text}`halves`** {cite:p}`knuth1997art`.
{ref}`halving-code`.

```{code-cell} ipython3
#| file: code/bert/halving.py
# <<half-parts>>


def half(number: float) -> float:
    return number / PARTS
```

```{code-cell} ipython3
#| id: half-parts
PARTS = 2
```

```{code-cell} ipython3
from myst_nb import glue

glue("halves", "2.5", display=False)
print("half of ten:", 10 / 2)
display(10 / 2)
print("half of six:", 6 / 2)
```

```{code-cell} ipython3
:tags: [remove-input]

from IPython.display import HTML

HTML("<small-widget></small-widget>\n<script>\n// a widget\n</script>")
```

```{exercise-start}
:label: halving-exercise
```
Halve nine.
```{exercise-end}
```

```{exercise-start}
:label: quartering-exercise
```
Halve nine twice.
```{exercise-end}
```

```{solution-start} quartering-exercise
:class: dropdown
```
```{code-cell} ipython3
quarter = 9 / 2 / 2  # LONG
```
```{solution-end}
```

```{solution-start} halving-exercise
:class: dropdown
```
```{code-cell} ipython3
9 / 2
```
```{solution-end}
```

```console
$ python -m halving
```
"""
)
FILES = {
    "book/index.md": "# A small book\n\nRead {ref}`halving-code`.\n",
    "book/01-halving.md": CHAPTER.replace(
        "LONG", "longer than any screen is wide, " * 8
    ),
    "book/glossary.md": (
        "# Glossary\n\n```{glossary}\nhalf\n  One of two equal parts.\n```\n"
    ),
    "book/code-index.md": "# Index of the code\n\n```{code-index}\n```\n",
    "book/bibliography.md": "# Bibliography\n\n```{bibliography}\n```\n",
    "book/references.bib": (
        "@book{knuth1997art, author = {Knuth, Donald E.}, title = {The Art "
        "of Computer Programming}, publisher = {Addison-Wesley}, "
        "year = {1997}}\n"
    ),
    # What Jupyter and jupytext leave behind is no part of the book.
    "book/01-halving.ipynb": (
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    ),
    "book/.ipynb_checkpoints/01-halving-checkpoint.md": CHAPTER,
    "code/bert/halving.py": "def half(number): ...\n",
    "images/map.svg": (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 156">'
        "</svg>\n"
    ),
    "_toc.yml": textwrap.dedent("""\
        format: jb-book
        root: book/index
        parts:
        - caption: Chapters
          numbered: 1
          chapters:
          - file: book/01-halving
        - caption: Reference
          chapters:
          - file: book/glossary
          - file: book/code-index
          - file: book/bibliography
        """),
}


def write_book(folder: Path) -> None:
    """A book of one chapter with the real configuration and extension."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for name in ("_ext", "_static", "_templates", "_vendor"):
        shutil.copytree(ROOT / "book" / name, folder / "book" / name)
    settings = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    # The live page's weights are for the book that has one.
    settings["sphinx"]["config"]["extensions"].remove("bookkit.live")
    (folder / "_config.yml").write_text(yaml.safe_dump(settings), "utf-8")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The folder of the small book's pages."""
    folder = tmp_path_factory.mktemp("book")
    write_book(folder)
    done = subprocess.run(
        [JUPYTER_BOOK, "build", ".", "-W", "--keep-going"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "_build" / "html"


@pytest.fixture(scope="module")
def chapter(book):
    return (book / "book" / "01-halving.html").read_text("utf-8")


def test_the_audit_finds_nothing_in_a_small_book(book):
    assert audit(book).faults == {}


def test_a_formula_is_set_when_the_book_is_built(chapter):
    assert chapter.count('class="katex"') == 2
    assert "MathJax" not in chapter
    assert "<math" in chapter  # for screen readers


def test_a_package_cell_leads_to_its_module_and_back(book, chapter):
    assert "#|" not in chapter
    assert 'href="code-index.html#bert-halving"' in chapter
    index = (book / "book" / "code-index.html").read_text("utf-8")
    assert 'href="01-halving.html#halving-code"' in index


def test_a_drawing_keeps_its_place_before_it_is_loaded(chapter):
    assert '<img width="640" height="156"' in chapter


def test_the_executed_notebook_is_offered(book, chapter):
    assert "../_sources/book/01-halving.ipynb" in chapter
    path = book / "_sources" / "book" / "01-halving.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    printed = [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    ]
    assert printed == ["half of ten: 5.0\nhalf of six: 3.0\n"]


def test_the_notebook_can_be_read_without_the_book(book):
    path = book / "_sources" / "book" / "01-halving.ipynb"
    first, *cells = nbformat.read(path, as_version=4).cells
    assert "clone the book's repository" in first.source
    prose = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    drawing = base64.b64encode(FILES["images/map.svg"].encode()).decode()
    assert prose.startswith(
        "# Halving\n\n![A strip with one part lit.]"
        f"(data:image/svg+xml;base64,{drawing})\n\n"
        "The half of $x$ is given by (half-formula), see\nKnuth [1997].\n\n"
        "$$\n\\operatorname{half}(x) = \\frac{x}{2}\n$$\n\n"
        "## The code\n\nFive halves: **2.5** [Knuth, 1997].\nThe code.\n"
    )
    assert prose.count("**Exercise**\n\nHalve nine") == 2
    assert "```{" not in prose and "}`" not in prose


def stream(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def test_merged_streams_stand_in_the_notebook_once(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    from reader.repairs import without_repeats

    shown = nbformat.v4.new_output("display_data", {"text/plain": "5.0"})
    outputs = [
        stream("ten\n"),
        stream("oh\n", "stderr"),
        shown,
        stream("six\n"),
        stream("\n"),
        stream("six\n"),
    ]
    apart = copy.deepcopy(outputs)
    on_the_page = coalesce_streams(outputs)  # changes the first, as in a build
    kept = without_repeats(outputs)
    assert [output.get("text") for output in kept] == [
        "ten\nsix\nsix\n",
        "oh\n",
        None,
    ]
    assert sorted(map(str, kept)) == sorted(map(str, on_the_page))
    # Streams that nobody merged stay as they are.
    assert without_repeats(apart) == apart


def test_the_search_knows_the_glossary(book):
    assert glossary_terms(book) == ["half"]


def test_the_audit_finds_a_term_that_the_search_does_not(book, tmp_path):
    root = tmp_path / "html"
    shutil.copytree(book, root)
    for path in root.rglob("*.html"):
        if path.name not in ("search.html", "glossary.html"):
            path.unlink()
    glossary = root / "book" / "glossary.html"
    text = glossary.read_text("utf-8")
    assert '<dt id="term-half">half<' in text
    text = text.replace('"term-half">half<', '"term-half">unheard<')
    glossary.write_text(text, "utf-8")
    found = [key for key in audit(root).faults if key[0] == "search"]
    assert found == [("search", "search.html", "'unheard' finds nothing")]


def test_links_between_chapters_stay_in_the_printed_book(book):
    joined = Page(one_page(book / "book"))
    assert set(joined.ids.values()) == {1}
    inner = {link[1:] for link in joined.links if link.startswith("#")}
    assert {"01-halving--halving-code", "glossary--term-half"} <= inner
    assert inner <= joined.ids.keys()


def test_the_book_is_printed(book, tmp_path):
    print_pdf(book, tmp_path / "book.pdf")
    content = (tmp_path / "book.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    # The landing page, a chapter, and three pages of reference.
    assert len(re.findall(rb"/Type /Page\b", content)) >= 5
    assert not (book / "book" / "printed.html").exists()
    # Once in the outline, though it stands at the top of a page.
    assert b"/Title (1. Halving)" in content


@pytest.mark.parametrize("read", [audit, print_pdf])
def test_an_empty_folder_is_no_book(read, tmp_path):
    with pytest.raises(FileNotFoundError, match="build the book first"):
        read(tmp_path, tmp_path / "book.pdf")


def test_a_page_is_described_by_its_first_paragraph_or_its_title(book):
    def described(name):
        text = (book / "book" / name).read_text("utf-8")
        return re.findall(r'<meta name="description" content="(.*?)"', text)

    assert described("index.html") == ["Read The code."]
    assert described("01-halving.html") == [
        "The half of x is given by (1.1), see Knuth [1997]."
    ]
    assert described("bibliography.html") == [
        "Bibliography, BERT, one operation at a time"
    ]


def test_the_root_leads_to_the_first_page_also_by_hand(book):
    text = (book / "index.html").read_text("utf-8")
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    root = Page(text)
    assert root.redirects and root.links == ["book/index.html"] * 2
    title = "<title>BERT, one operation at a time</title>"
    assert title in text
    first = (book / "book" / "index.html").read_text("utf-8")
    assert title in re.sub(r"\s*\n\s*", "", first)
    other = (book / "book" / "glossary.html").read_text("utf-8")
    assert "<title>Glossary &#8212; BERT, one" in other


def test_figures_take_their_colours_from_the_palette(book):
    from bookkit.palette import PALETTE

    sheet = (book / "_static" / "palette.css").read_text("utf-8")
    for name, (light, dark) in PALETTE.items():
        assert f"--fig-{name}:{light};" in sheet
        assert f"--fig-{name}:{dark};" in sheet
