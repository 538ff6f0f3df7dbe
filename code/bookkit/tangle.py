"""Write the package in code/bert from the cells of the book.

A code cell whose first line is `#| file: code/bert/NAME.py` goes to that file,
in the order of _toc.yml. A cell whose first line is `#| id: NAME` is a piece:
a line `# <<NAME>>` in another cell stands for it.
"""

import argparse
import ast
import difflib
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml
from docutils.nodes import make_id
from myst_nb.core.read import (
    is_myst_markdown_notebook,
    read_myst_markdown_notebook,
)
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).parents[2]
PACKAGE = PurePosixPath("code/bert")
WIDTH = 79
# How a chapter begins; book/jupytext.toml keeps jupytext from adding to it.
FRONT_MATTER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""

OPTION = re.compile(r"#\|(.*)")
REFERENCE = re.compile(r"( *)# <<([\w-]+)>>\s*")
LABEL = re.compile(r"\(([^()\s]+)\)=\s*")
HEADING = re.compile(r"#{1,6} +(.+?)\s*")
FENCE = re.compile(r"\s*(`{3,}|~{3,}|:{3,})")
MARKED_CELL = re.compile(
    r"^[ >]*(?:`{3,}|~{3,}|:{3,})\{code-cell\}.*\n"
    r"(?:(?:[ >]*:.*\n)*|---\n(?:.*\n)*?---\n)\s*[ >]*#\| *(?:file|id):",
    re.MULTILINE,
)


class BookError(Exception):
    """The book cannot be tangled; the message says where and why."""


@dataclass(frozen=True)
class Section:
    """A place in the book: a chapter, a heading, the label above it."""

    chapter: str
    heading: str
    label: str

    @property
    def anchor(self) -> str:
        """The id of the section in the rendered page."""
        return make_id(self.label or self.heading)


@dataclass
class Cell:
    """A code cell of a chapter."""

    section: Section
    line: int
    lines: list[str]
    file: str = ""
    id: str = ""

    @property
    def where(self) -> str:
        """The place of the cell's first line, as `file:line`."""
        return f"{self.section.chapter}:{self.line}"


@dataclass
class Part:
    """What one cell adds to a module."""

    cell: Cell
    docstring: str
    imports: list[str]
    body: str
    names: list[str]
    # The cell itself and its pieces: the part is told when the last is read.
    cells: list[Cell]


@dataclass(frozen=True)
class Link:
    """Where in the book a part of a module stands."""

    section: Section
    line: int
    names: tuple[str, ...]


@dataclass
class Module:
    """A module of the package, as the book has it."""

    path: str
    parts: list[Part] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name to import it by."""
        return module_name(self.path)


def module_name(path: str) -> str:
    """Return the name that imports a file such as code/bert/model.py."""
    return (
        path.removeprefix("code/")
        .removesuffix(".py")
        .replace("/", ".")
        .removesuffix(".__init__")
    )


# Reading the chapters


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder, but for hidden ones.

    Jupyter keeps a copy of each file that it opens in .ipynb_checkpoints.
    """
    return sorted(
        path
        for path in folder.rglob(pattern)
        if not any(
            part.startswith(".") for part in path.relative_to(folder).parts
        )
    )


def chapters_in_order(root: Path) -> list[str]:
    """Return the chapters' paths in the order of _toc.yml.

    Raises:
        BookError: A file in book/ has marked cells and is not in _toc.yml.
    """
    site = parse_toc_yaml(root / "_toc.yml")

    def walk(docname: str) -> Iterator[str]:
        yield docname
        for child in site[docname].child_files():
            yield from walk(child)

    listed = [
        f"{name.removesuffix('.md')}.md" for name in walk(site.root.docname)
    ]
    chapters = [name for name in listed if (root / name).is_file()]
    for path in visible(root / "book", "*.md"):
        name = path.relative_to(root).as_posix()
        if name not in chapters and MARKED_CELL.search(
            path.read_text(encoding="utf-8")
        ):
            raise BookError(f"{name}: marked cells, but not in _toc.yml")
    return chapters


def other_front_matter(root: Path) -> list[str]:
    """Say which notebooks of the book begin with other front matter."""
    found = []
    for chapter in chapters_in_order(root):
        text = (root / chapter).read_text(encoding="utf-8")
        if is_myst_markdown_notebook(text) and not text.startswith(
            FRONT_MATTER
        ):
            began = text[: text.find("\n---\n", 3) + 5]
            found.append(
                f"{chapter}: other front matter than CONTRIBUTING.md asks "
                "for; an editor may have saved it so:\n"
                + diff_of(FRONT_MATTER, began, "wanted", chapter)
            )
    return found


def read_chapter(root: Path, chapter: str) -> list[Cell]:
    """Return the code cells of a chapter."""
    text = (root / chapter).read_text(encoding="utf-8")
    if not is_myst_markdown_notebook(text):
        if MARKED_CELL.search(text):
            raise BookError(f"{chapter}: marked cells, but not a notebook")
        return []
    notebook = read_myst_markdown_notebook(
        text, add_source_map=True, path=str(root / chapter)
    )
    text_lines = text.splitlines()
    section = Section(chapter, PurePosixPath(chapter).stem, "")
    starts = notebook.metadata["source_map"]
    cells = []
    for cell, start in zip(notebook.cells, starts, strict=True):
        if cell.cell_type == "markdown":
            section = last_section(cell.source, section)
        elif cell.cell_type == "code" and cell.source.strip():
            lines = cell.source.splitlines()
            line = text_lines.index(lines[0], start) + 1
            cells.append(read_cell(section, line, lines))
    read = sum(bool(cell.file or cell.id) for cell in cells)
    if (written := len(MARKED_CELL.findall(text))) != read:
        raise BookError(
            f"{chapter}: {written} marked cells are written and {read} are "
            "cells of the notebook; one inside another directive never runs"
        )
    return cells


def last_section(markdown: str, section: Section) -> Section:
    """Return the section that is open at the end of a text."""
    fence = label = ""
    for line in markdown.splitlines():
        if mark := FENCE.match(line):
            if not fence:
                fence = mark[1]
            elif line.strip() == fence[0] * max(len(fence), len(line.strip())):
                fence = ""
        elif fence:
            continue
        elif found := LABEL.fullmatch(line):
            label = found[1]
        elif found := HEADING.fullmatch(line):
            section = Section(section.chapter, plain(found[1]), label)
            label = ""
        elif line.strip():
            label = ""
    return section


def plain(heading: str) -> str:
    """Return a heading without the marks of roles, code and emphasis."""
    heading = re.sub(
        r"\{[\w:.-]+\}`(?:([^`<]+?) *<[^`>]*>|([^`]*))`", r"\1\2", heading
    )
    return re.sub(r"[`*]|\\(?=\W)", "", heading)


def read_cell(section: Section, line: int, lines: list[str]) -> Cell:
    """Read the options at the head of a cell."""
    head = []
    while lines and (option := OPTION.match(lines[0])):
        head.append(option[1])
        del lines[0]
    where = f"{section.chapter}:{line}"
    try:
        options = yaml.safe_load("\n".join(head)) or {}
    except yaml.YAMLError as error:
        raise BookError(f"{where}: {error}") from None
    if not isinstance(options, dict):
        raise BookError(f"{where}: wanted `#| file: ...`, found {options!r}")
    if unknown := options.keys() - {"file", "id"}:
        raise BookError(f"{where}: unknown cell options {sorted(unknown)}")
    if any(OPTION.match(text) for text in lines):
        raise BookError(f"{where}: `#|` options must come first in the cell")
    cell = Cell(section, line, lines, **options)
    if cell.file:
        check_target(cell)
    return cell


def check_target(cell: Cell) -> None:
    """Raise when a cell names a file outside the package."""
    path = PurePosixPath(str(cell.file))
    inside = PACKAGE in path.parents and ".." not in path.parts
    if not inside or path.suffix != ".py" or str(path) != cell.file:
        raise BookError(
            f"{cell.where}: {cell.file!r} is no path such as {PACKAGE}/NAME.py"
        )


# From cells to modules


def gather_pieces(cells: list[Cell]) -> dict[str, Cell]:
    """Return the pieces by name."""
    pieces: dict[str, Cell] = {}
    for cell in cells:
        if not cell.id:
            continue
        if cell.id in pieces:
            raise BookError(
                f"{cell.where}: `#| id: {cell.id}` is also at "
                f"{pieces[cell.id].where}"
            )
        pieces[cell.id] = cell
    return pieces


def expand(
    cell: Cell, pieces: dict[str, Cell], used: list[Cell]
) -> Iterator[str]:
    """Yield a cell's lines with its pieces in place; list cells in `used`."""
    used.append(cell)
    for line in cell.lines:
        if not (reference := REFERENCE.fullmatch(line)):
            yield line
            continue
        indent, name = reference.groups()
        if name not in pieces:
            raise BookError(f"{cell.where}: no cell has `#| id: {name}`")
        if pieces[name] in used:
            raise BookError(f"{cell.where}: <<{name}>> is used twice")
        for text in expand(pieces[name], pieces, used):
            yield indent + text if text else ""


def read_part(cell: Cell, pieces: dict[str, Cell], used: list[Cell]) -> Part:
    """Take a cell apart: docstring, imports, and the rest."""
    first = len(used)
    lines = list(expand(cell, pieces, used))
    try:
        nodes = ast.parse("\n".join(lines)).body
    except SyntaxError as error:
        raise BookError(f"{cell.where}: {error.msg}: {error.text}") from None
    part = Part(cell, "", [], "", [], used[first:])
    end = 0
    for place, node in enumerate(nodes):
        text = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        if place == 0 and is_docstring(node):
            part.docstring = text
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            part.imports.append(text)
        else:
            break
        if any(line.strip() for line in lines[end : node.lineno - 1]):
            raise BookError(
                f"{cell.where}: a comment among the imports would be lost"
            )
        end = node.end_lineno or end
    part.body = "\n".join(lines[end:]).strip("\n")
    part.names = [name for node in nodes for name in names_bound(node)]
    return part


def is_docstring(node: ast.stmt) -> bool:
    """Say whether a statement is a bare string."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def names_bound(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines at the top of a module."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [
        name.id
        for target in targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    ]


def gather_modules(cells: list[Cell]) -> dict[str, Module]:
    """Return the package's modules, in the order in which they are told."""
    pieces = gather_pieces(cells)
    used: list[Cell] = []
    modules: dict[str, Module] = {}
    for cell in cells:
        if not cell.file:
            continue
        module = modules.setdefault(cell.file, Module(cell.file))
        part = read_part(cell, pieces, used)
        if part.docstring and module.parts:
            raise BookError(
                f"{cell.where}: a module's docstring stands in its first "
                f"cell, {module.parts[0].cell.where}"
            )
        module.parts.append(part)
    if not modules:
        raise BookError("no cell of the book is marked with `#| file:`")
    spare = [cell for cell in pieces.values() if cell not in used]
    if spare:
        raise BookError(
            "pieces that no cell uses: "
            + ", ".join(f"{cell.id} ({cell.where})" for cell in spare)
        )
    return modules


def refuse_early_imports(
    cells: list[Cell], modules: dict[str, Module]
) -> None:
    """Raise when a chapter imports what it has yet to write.

    The import would work, from the file that is already there, and the
    reader would be shown a result whose code comes only later.
    """
    order = {id(cell): place for place, cell in enumerate(cells)}
    written: dict[tuple[str, str], tuple[str, int]] = {}
    exported = exported_names(modules)
    for module in modules.values():
        for part in module.parts:
            last = max(part.cells, key=lambda cell: order[id(cell)])
            chapter, place = last.section.chapter, order[id(last)]
            for name in [*part.names, "*"]:
                written[module.name, name] = chapter, place
    for place, cell in enumerate(cells):
        for source in imported_names(cell):
            chapter, last_place = written.get(
                exported.get(source, source), ("", 0)
            )
            if chapter == cell.section.chapter and place < last_place:
                raise BookError(
                    f"{cell.where}: imports {'.'.join(source)}, which this "
                    f"chapter writes only at line {cells[last_place].line}"
                )


def exported_names(
    modules: dict[str, Module],
) -> dict[tuple[str, str], tuple[str, str]]:
    """Map what `bert` itself offers to the module that defines it."""
    top = modules.get(f"{PACKAGE}/__init__.py")
    found = {
        ("bert", module.name.removeprefix("bert.")): (module.name, "*")
        for module in modules.values()
    }
    for part in top.parts if top else []:
        for text in part.imports:
            node = ast.parse(text).body[0]
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    key = "bert", alias.asname or alias.name
                    found[key] = node.module, alias.name
    return found


def imported_names(cell: Cell) -> list[tuple[str, str]]:
    """Return what a cell imports of the package, as (module, name)."""
    lines = [
        # IPython's own commands are not Python.
        "" if line.lstrip().startswith(("%", "!")) else line
        for line in cell.lines
    ]
    try:
        tree = ast.parse("\n".join(lines))
    except SyntaxError as error:
        raise BookError(f"{cell.where}: {error.msg}: {error.text}") from None
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "*") for alias in node.names]
    return [pair for pair in found if pair[0].split(".")[0] == "bert"]


# From modules to files


def lay_out(module: Module) -> str:
    """Return a module's text, its imports not yet sorted."""
    chapters = dict.fromkeys(p.cell.section.chapter for p in module.parts)
    note = f"Written from the book by `make tangle`: {', '.join(chapters)}."
    blocks = [comment(note) + "\n" + module.parts[0].docstring]
    imports = [text for part in module.parts for text in part.imports]
    text = blocks[0].rstrip("\n") + "\n"
    if imports:
        text += "\n" + "\n".join(dict.fromkeys(imports)) + "\n"
    section = None
    for part in module.parts:
        if not part.body:
            continue
        text += "\n\n"
        if part.cell.section != section:
            section = part.cell.section
            text += comment(f"{section.chapter}: {section.heading}") + "\n"
        text += part.body + "\n"
    return text


def comment(text: str) -> str:
    """Write a comment, in several lines when it is long."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def ruff(folder: Path, *command: str) -> None:
    """Run ruff on all files of a folder, in the book's own style."""
    subprocess.run(
        [
            *(sys.executable, "-m", "ruff", *command),
            *("--quiet", "--no-cache", "--isolated"),
            *("--config", f"line-length={WIDTH}"),
            *("--config", 'lint.isort.known-first-party=["bert", "bookkit"]'),
            str(folder),
        ],
        check=True,
    )


def format_files(files: dict[str, str]) -> tuple[dict[str, str], ...]:
    """Return the files with sorted imports, and as ruff would format them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")

        def read() -> dict[str, str]:
            return {
                path: (folder / path).read_text(encoding="utf-8")
                for path in files
            }

        ruff(folder, "check", "--select=I", "--fix-only")
        in_order = read()
        ruff(folder, "format")
        return in_order, read()


def complaints_about(
    module: Module, written: str, formatted: str
) -> list[str]:
    """Say where a module's cells are too wide, or not as ruff formats."""
    complaints = [
        f"{part.cell.where}: {len(line)} columns, at most {WIDTH} fit: "
        + line.strip()
        for part in module.parts
        for line in part.body.splitlines()
        if len(line) > WIDTH
    ]
    if written != formatted:
        places = [
            part.cell.where
            for part in module.parts
            if part.body not in formatted
        ]
        complaints.append(
            f"{', '.join(places) or module.path}: not formatted:\n"
            + diff_of(written, formatted, "the book", "ruff's format")
        )
    return complaints


def diff_of(old: str, new: str, old_name: str, new_name: str) -> str:
    """Return a unified diff of two texts."""
    return "".join(
        difflib.unified_diff(
            old.splitlines(True), new.splitlines(True), old_name, new_name
        )
    )


def read_modules(root: Path) -> dict[str, Module]:
    """Read the book, and check what needs no formatting."""
    cells = [
        cell
        for chapter in chapters_in_order(root)
        for cell in read_chapter(root, chapter)
    ]
    modules = gather_modules(cells)
    refuse_early_imports(cells, modules)
    return modules


def tangle(root: Path = ROOT) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the package's files that the book describes: path to text.

    The second dict says, for the files whose cells are not formatted, what
    is wrong with them.

    Raises:
        BookError: The book contradicts itself; see the message.
    """
    modules = read_modules(root)
    files = {path: lay_out(module) for path, module in modules.items()}
    written, formatted = format_files(files)
    complaints = {
        path: complaints_about(module, written[path], formatted[path])
        for path, module in modules.items()
    }
    return formatted, {path: said for path, said in complaints.items() if said}


def links(root: Path = ROOT) -> dict[str, list[Link]]:
    """Return, for each module's name, the places in the book that wrote it.

    A link is one cell: its section (chapter, heading, label, anchor), its
    line, and the names that it defines.
    """
    return {
        module.name: [
            Link(part.cell.section, part.cell.line, tuple(part.names))
            for part in module.parts
        ]
        for module in read_modules(root).values()
    }


def differences(root: Path, files: dict[str, str]) -> dict[str, str]:
    """Return a diff for each file that is not what the book says."""
    found = {
        path.relative_to(root).as_posix(): path.read_bytes().decode("utf-8")
        for path in visible(root / PACKAGE, "*.py")
    }
    return {
        path: diff_of(
            found.get(path, ""),
            files.get(path, ""),
            path if path in found else "no such file",
            f"{path} in the book" if path in files else "not in the book",
        )
        for path in sorted(found.keys() | files.keys())
        if found.get(path) != files.get(path)
    }


def write(root: Path, files: dict[str, str], paths: Iterable[str]) -> None:
    """Write the named files, and delete those that the book has not."""
    for path in paths:
        target = root / path
        if path in files:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files[path].encode("utf-8"))
            print("wrote", path)
        else:
            target.unlink()
            print("deleted", path)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Tangle, or check; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m bookkit.tangle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail if code/bert is not what the book says, "
        "or a chapter has other front matter",
    )
    check = parser.parse_args(arguments).check
    try:
        files, complaints = tangle(root)
    except BookError as error:
        print(f"tangle: {error}", file=sys.stderr)
        return 1
    for said in complaints.values():
        print("tangle:", "\n".join(said), file=sys.stderr)
    differing = differences(root, files)
    if check:
        sys.stdout.writelines(differing.values())
        if differing:
            print(f"{len(differing)} files differ; run `make tangle`")
        strange = other_front_matter(root)
        for saying in strange:
            print("tangle:", saying, file=sys.stderr)
        return 1 if differing or complaints or strange else 0
    # One chapter's unformatted cell does not hold up the other modules.
    write(root, files, [path for path in differing if path not in complaints])
    print(f"{len(files) - len(complaints)} of {len(files)} files are written")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
