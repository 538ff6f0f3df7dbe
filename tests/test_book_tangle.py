"""The tangler, on small books, and on this one."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
from myst_nb.core.read import read_myst_markdown_notebook

from bookkit import tangle

ROOT = Path(__file__).parents[1]
FRONT = tangle.FRONT_MATTER + "\n# {title}\n"


def cell(source: str) -> str:
    """A code cell of a chapter."""
    return f"\n```{{code-cell}} ipython3\n{source}\n```\n"


def module_cell(name: str, source: str) -> str:
    """A code cell that belongs to code/bert/NAME.py."""
    return cell(f"#| file: code/bert/{name}.py\n{source}")


class Book:
    """A book in a temporary folder."""

    def __init__(self, root: Path):
        self.root = root
        self.titles: list[str] = []
        (root / "book").mkdir()
        (root / "book" / "index.md").write_text("# A book\n", "utf-8")

    def chapter(self, title: str, *parts: str) -> "Book":
        """Add a chapter, listed in _toc.yml."""
        self.titles.append(title)
        text = FRONT.format(title=title) + "".join(parts)
        (self.root / "book" / f"{title}.md").write_text(text, "utf-8")
        toc = "format: jb-book\nroot: book/index\nchapters:\n" + "".join(
            f"- file: book/{title}\n" for title in self.titles
        )
        (self.root / "_toc.yml").write_text(toc, "utf-8")
        return self

    def files(self) -> dict[str, str]:
        """Tangle; every cell must be well formatted."""
        files, complaints = tangle.tangle(self.root)
        assert complaints == {}
        return files


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path)


def test_cells_become_a_module_with_its_sources_named(book):
    book.chapter(
        "first",
        module_cell("sums", '"""Sums."""\n\nimport math'),
        "\n(first-adding)=\n## Adding `two` *numbers*\n",
        module_cell("sums", "def add(a, b):\n    return math.fsum([a, b])"),
        cell("add(1, 2)"),
        module_cell("sums", "ZERO = 0.0"),
    )
    book.chapter(
        "second",
        module_cell(
            "sums",
            "from __future__ import annotations\n\nimport abc\n\n\n"
            "def double(a):\n    return add(a, a)",
        ),
    )
    assert book.files() == {
        "code/bert/sums.py": '''\
# Written from the book by `make tangle`: book/first.md, book/second.md.
"""Sums."""

from __future__ import annotations

import abc
import math


# book/first.md: Adding two numbers
def add(a, b):
    return math.fsum([a, b])


ZERO = 0.0


# book/second.md: second
def double(a):
    return add(a, a)
'''
    }


def test_a_docstring_of_several_lines_stands_before_the_imports(book):
    book.chapter(
        "one",
        module_cell(
            "a", '"""First line.\n\nMore.\n"""\n\nimport math\n\nX = 1'
        ),
    )
    text = book.files()["code/bert/a.py"]
    assert ast.get_docstring(ast.parse(text)) == "First line.\n\nMore."
    assert text.index("More.") < text.index("import math")


def test_pieces_are_put_in_at_their_indentation(book):
    book.chapter(
        "one",
        module_cell("a", "class A:\n    Y = 0\n\n    # <<inside>>"),
        cell("#| id: inside\ndef f(self):\n    x = 1\n    # <<body>>"),
        cell("#| id: body\nx += 1\n\nreturn x"),
    )
    assert book.files()["code/bert/a.py"].endswith(
        "class A:\n    Y = 0\n\n"
        "    def f(self):\n        x = 1\n        x += 1\n\n        return x\n"
    )


@pytest.mark.parametrize(
    "options", [':tags: ["hide-input"]\n', "---\ntags: [hide-input]\n---"]
)
def test_other_options_of_a_cell_stay_as_they_are(book, options):
    book.chapter("one", cell(f"{options}\n#| file: code/bert/a.py\nX = 1"))
    assert "X = 1" in book.files()["code/bert/a.py"]


def test_the_marks_stay_in_the_notebook_that_readers_run():
    text = FRONT.format(title="t") + module_cell("a", "X = 1")
    expected = "#| file: code/bert/a.py\nX = 1"
    for notebook in (
        read_myst_markdown_notebook(text),
        jupytext.reads(text, fmt="md:myst"),
    ):
        [source] = [c.source for c in notebook.cells if c.cell_type == "code"]
        assert source == expected


X_IN_A = module_cell("a", "X = 1")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "no cell of the book is marked"),
        ([cell("#| file: code/bert/a.txt\n")], "is no path such as"),
        ([cell("#| file: code/bookkit/a.py\n")], "is no path such as"),
        ([cell("#| file: code/bert/../b.py\n")], "is no path such as"),
        ([cell("#| fiel: code/bert/a.py\n")], r"unknown cell options \['fiel"),
        ([cell("#| file\n")], "wanted `#| file: ...`"),
        ([cell("X = 1\n#| file: code/bert/a.py")], "must come first"),
        ([module_cell("a", "# <<x>>")], "no cell has `#| id: x`"),
        ([X_IN_A, cell("#| id: x\nY = 1")], r"no cell uses: x \(book/one.md"),
        ([X_IN_A] + 2 * [cell("#| id: x\n1")], "is also at book/one.md:20"),
        (
            [module_cell("a", "# <<x>>\n# <<x>>"), cell("#| id: x\n1")],
            "<<x>> is used twice",
        ),
        (
            [module_cell("a", "# <<x>>"), cell("#| id: x\n# <<x>>")],
            "<<x>> is used twice",
        ),
        (
            [module_cell("a", "def f():\n    # <<x>>"), cell("#| id: x\n1")],
            "expected an indented block",
        ),
        ([module_cell("a", "def f(:")], "book/one.md:15: invalid syntax"),
        ([X_IN_A, module_cell("a", '"""Late."""')], "stands in its first"),
        (
            [module_cell("a", "# why\nimport math")],
            "a comment among the imports",
        ),
        (
            ["\n````{note}\n", module_cell("a", "X = 1"), "````\n"],
            "inside another directive never runs",
        ),
    ],
)
def test_a_book_that_contradicts_itself_is_refused(book, parts, message):
    book.chapter("one", *parts)
    with pytest.raises(tangle.BookError, match=message):
        tangle.tangle(book.root)


def test_a_chapter_that_is_not_in_the_table_of_contents_is_refused(book):
    book.chapter("one", X_IN_A)
    stray = book.root / "book" / "stray.md"
    stray.write_text(FRONT.format(title="s") + cell("1 + 1"), "utf-8")
    assert list(book.files()) == ["code/bert/a.py"]
    stray.write_text(FRONT.format(title="s") + X_IN_A, "utf-8")
    with pytest.raises(tangle.BookError, match="stray.md: marked cells, but"):
        tangle.tangle(book.root)


def test_the_copies_that_jupyter_keeps_are_no_chapters_and_no_modules(book):
    book.chapter("one", X_IN_A)
    for folder, name, text in (
        ("book", "one-checkpoint.md", FRONT.format(title="one") + X_IN_A),
        ("code/bert", "a-checkpoint.py", "X = 1\n"),
    ):
        copies = book.root / folder / ".ipynb_checkpoints"
        copies.mkdir(parents=True)
        (copies / name).write_text(text, "utf-8")
    files = book.files()
    assert list(tangle.differences(book.root, files)) == ["code/bert/a.py"]


def test_other_front_matter_is_refused_by_the_check(book, capsys):
    book.chapter("one", X_IN_A)
    assert tangle.main([], book.root) == 0
    assert tangle.main(["--check"], book.root) == 0
    path = book.root / "book" / "one.md"
    text = path.read_text("utf-8").replace("Python 3", "Python 3 (ipykernel)")
    path.write_text(text, "utf-8")
    capsys.readouterr()
    assert tangle.main(["--check"], book.root) == 1
    said = capsys.readouterr().err
    assert "book/one.md: other front matter than CONTRIBUTING.md" in said
    assert "+  display_name: Python 3 (ipykernel)\n" in said
    # A saved chapter can be tangled: the front matter is not the package.
    assert tangle.main([], book.root) == 0


def test_contributing_shows_the_front_matter():
    shown = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    wanted = tangle.FRONT_MATTER.replace("\n", "\n  ").rstrip(" ")
    assert f"  {wanted}" in shown


def test_jupytext_adds_nothing_to_the_front_matter(tmp_path):
    shutil.copy(ROOT / "book" / "jupytext.toml", tmp_path)
    chapter = tmp_path / "one.md"
    chapter.write_text(FRONT.format(title="t") + X_IN_A, "utf-8")
    before = chapter.read_bytes()
    command = [sys.executable, "-m", "jupytext", "--quiet", "--to"]
    subprocess.run([*command, "ipynb", chapter], check=True)
    chapter.unlink()
    notebook = chapter.with_suffix(".ipynb")
    subprocess.run([*command, "md:myst", notebook], check=True)
    assert chapter.read_bytes() == before


def test_marked_cells_in_a_page_that_is_no_notebook_are_refused(book):
    book.chapter("one", X_IN_A)
    (book.root / "book" / "index.md").write_text("# A\n" + X_IN_A, "utf-8")
    with pytest.raises(tangle.BookError, match="but not a notebook"):
        tangle.tangle(book.root)


@pytest.mark.parametrize(
    "early",
    [
        "from bert.a import X",
        "from bert.a import X as mine",
        "from bert import X",
        "from bert import a",
        "import bert.a",
        "def f():\n    from bert.a import X",
        "%matplotlib inline\nfrom bert.a import X",
    ],
)
def test_a_chapter_may_not_import_what_it_has_yet_to_write(book, early):
    top = module_cell("__init__", 'from bert.a import X\n\n__all__ = ["X"]')
    book.chapter("one", cell(early), X_IN_A).chapter("last", top)
    with pytest.raises(tangle.BookError, match="this chapter writes only at"):
        tangle.tangle(book.root)


def test_a_class_is_written_when_its_last_piece_is(book):
    start = module_cell("a", "class A:\n    Y = 0\n\n    # <<f>>")
    piece = cell("#| id: f\ndef f(self): ...")
    used = cell("from bert.a import A")
    book.chapter("one", start, piece, used)
    assert "def f" in book.files()["code/bert/a.py"]
    book.titles.clear()
    book.chapter("one", start, used, piece)
    with pytest.raises(tangle.BookError, match=r"imports bert\.a\.A"):
        tangle.tangle(book.root)


def test_a_chapter_may_import_what_other_chapters_write(book):
    # The first chapter runs what the last ones build.
    book.chapter("one", cell("from bert.a import X")).chapter("two", X_IN_A)
    assert list(book.files()) == ["code/bert/a.py"]


def test_a_cell_that_ruff_would_format_is_named_with_a_diff(book):
    book.chapter("one", X_IN_A, module_cell("b", "Y = f( 1,2 )"))
    _, complaints = tangle.tangle(book.root)
    assert list(complaints) == ["code/bert/b.py"]
    [said] = complaints["code/bert/b.py"]
    assert said.startswith("book/one.md:20: not formatted:")
    assert "-Y = f( 1,2 )\n" in said
    assert "+Y = f(1, 2)\n" in said


def test_a_piece_that_is_too_wide_where_it_goes_is_named(book):
    line = "# " + "x" * 71  # 73 columns, and 81 at its place
    book.chapter(
        "one",
        module_cell(
            "a", "class A:\n    def f(self):\n        x = 1\n        # <<f>>"
        ),
        cell(f"#| id: f\n{line}\nreturn x"),
    )
    _, complaints = tangle.tangle(book.root)
    [said] = complaints["code/bert/a.py"]
    assert said.startswith("book/one.md:15: 81 columns, at most 79 fit:")


def test_a_long_heading_is_a_comment_that_fits(book):
    book.chapter("one", f"\n## {'long words ' * 12}\n", X_IN_A)
    text = book.files()["code/bert/a.py"]
    assert max(map(len, text.splitlines())) <= 79


def test_headings_in_code_are_no_headings(book):
    book.chapter("one", "\n## Real\n\n```python\n# comment\n```\n", X_IN_A)
    assert "# book/one.md: Real\n" in book.files()["code/bert/a.py"]


def test_links_lead_back_to_the_sections(book):
    book.chapter(
        "one",
        module_cell("a", '"""A."""'),
        "\n(one-real)=\n## The {term}`real <thing>` one\n",
        module_cell("a", "X = Y = 1\n\n\ndef f(): ..."),
        "\n## No label: here\n",
        module_cell("b", "class B: ..."),
    )
    found = tangle.links(book.root)
    assert list(found) == ["bert.a", "bert.b"]
    first, second = found["bert.a"]
    assert (first.section.heading, first.names) == ("one", ())
    assert second.section == tangle.Section(
        "book/one.md", "The real one", "one-real"
    )
    assert second.names == ("X", "Y", "f")
    assert second.section.anchor == "one-real"
    [third] = found["bert.b"]
    assert third.section.anchor == "no-label-here"
    lines = (book.root / "book/one.md").read_text("utf-8").splitlines()
    assert lines[third.line - 1] == "#| file: code/bert/b.py"


def test_writing_then_checking_agrees_to_the_byte(book, capsys):
    book.chapter("one", X_IN_A)
    package = book.root / "code" / "bert"
    package.mkdir(parents=True)
    (package / "stale.py").write_text("OLD = 1\n", "utf-8")
    (book.root / "code" / "bookkit").mkdir()
    kept = book.root / "code" / "bookkit" / "by_hand.py"
    kept.write_text("KEPT = 1\n", "utf-8")

    assert tangle.main(["--check"], book.root) == 1
    said = capsys.readouterr().out
    assert "+X = 1\n" in said
    assert "-OLD = 1\n" in said
    assert (package / "stale.py").exists()

    assert tangle.main([], book.root) == 0
    assert [path.name for path in package.iterdir()] == ["a.py"]
    assert kept.exists()
    assert tangle.main(["--check"], book.root) == 0

    # A difference that no line of a diff by lines would show.
    written = (package / "a.py").read_bytes()
    (package / "a.py").write_bytes(written.replace(b"\n", b"\r\n"))
    assert tangle.main(["--check"], book.root) == 1


def test_a_badly_formatted_module_does_not_hold_up_the_others(book, capsys):
    book.chapter("one", X_IN_A, module_cell("b", "Y = f( 1,2 )"))
    assert tangle.main([], book.root) == 1
    assert "not formatted" in capsys.readouterr().err
    written = (book.root / "code" / "bert").iterdir()
    assert [path.name for path in written] == ["a.py"]


def test_a_refusal_is_an_exit_code_and_a_message(book, capsys):
    book.chapter("one", module_cell("a", "# <<x>>"))
    assert tangle.main(["--check"], book.root) == 1
    assert "tangle: book/one.md:15: no cell has" in capsys.readouterr().err


def test_this_book_and_its_package_agree_to_the_byte():
    done = subprocess.run(
        [sys.executable, "-m", "bookkit.tangle", "--check"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "code")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
