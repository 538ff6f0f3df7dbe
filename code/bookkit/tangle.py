"""Write the package code/bert from the cells of the book.

A code cell whose first line is `#| file: PATH` goes to PATH, in the order of
`_toc.yml`. A cell whose first line is `#| id: NAME` is a piece: a line
`# <<NAME>>` in another cell stands for it. `--check` writes nothing and fails
when the package is not what the book says.
"""

import argparse
import ast
import difflib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from myst_nb.core.read import (
    is_myst_markdown_notebook,
    read_myst_markdown_notebook,
)
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "code/bert/"
OPTION = re.compile(r"#\|(.*)")
REFERENCE = re.compile(r"( *)# <<([\w-]+)>>\s*")
HEADER = "# Written from the book by bookkit.tangle: edit the chapter, not this."


class BookError(Exception):
    """The book cannot be tangled; the message says where and why."""


@dataclass
class Cell:
    """One code cell of a chapter."""

    chapter: str
    line: int
    heading: str
    label: str
    options: dict[str, str]
    lines: list[str]

    @property
    def where(self) -> str:
        """The place to look at in an editor."""
        return f"{self.chapter}:{self.line}"


@dataclass
class Module:
    """What the cells of one file add up to."""

    docstring: str = ""
    imports: dict[str, None] = field(default_factory=dict)
    bodies: list[tuple[Cell, str]] = field(default_factory=list)


def read_chapter(path: Path, name: str) -> list[Cell]:
    """Return the code cells of a chapter, in order."""
    text = path.read_text(encoding="utf-8")
    if not is_myst_markdown_notebook(text):
        return []
    notebook = read_myst_markdown_notebook(
        text, add_source_map=True, path=path
    )
    heading, label, cells = path.stem, "", []
    starts = notebook.metadata["source_map"]
    for cell, start in zip(notebook.cells, starts, strict=True):
        if cell.cell_type == "markdown":
            prose = re.sub(r"^```.*?^```", "", cell.source, flags=re.M | re.S)
            for found in re.finditer(
                r"(?:^\(([\w-]+)\)=\n)?^#+ (.+)$", prose, re.MULTILINE
            ):
                label, heading = found[1] or label, found[2]
            continue
        options, lines = split_options(cell.source, f"{name}:{start}")
        cells.append(Cell(name, start, heading, label, options, lines))
    written = len(re.findall(r"^\s*#\| *(?:file|id):", text, re.MULTILINE))
    if written != (read := sum(len(cell.options) for cell in cells)):
        raise BookError(
            f"{name}: {written} options are written, {read} read; is a cell "
            "nested in another directive?"
        )
    return cells


def split_options(source: str, where: str) -> tuple[dict[str, str], list[str]]:
    """Cut the `#|` lines off the head of a cell."""
    lines, head = source.splitlines(), []
    while lines and (option := OPTION.match(lines[0])):
        head.append(option[1])
        del lines[0]
    options = yaml.safe_load("\n".join(head)) or {}
    if not isinstance(options, dict) or options.keys() - {"file", "id"}:
        raise BookError(f"{where}: unknown cell options: {options}")
    if any(OPTION.match(line) for line in lines):
        raise BookError(f"{where}: `#|` lines must come first in the cell")
    target = options.get("file")
    if target and not re.fullmatch(re.escape(PACKAGE) + r"\w+\.py", target):
        raise BookError(f"{where}: {target} is not a module of {PACKAGE}")
    return options, lines


def expand(cell: Cell, pieces: dict[str, Cell], used: set[str]) -> str:
    """Return a cell's text with its pieces put in, indented."""
    out = []
    for line in cell.lines:
        if not (reference := REFERENCE.fullmatch(line)):
            out.append(line)
            continue
        indent, name = reference.groups()
        if name not in pieces:
            raise BookError(f"{cell.where}: no cell has `#| id: {name}`")
        if name in used:
            raise BookError(f"{cell.where}: <<{name}>> is used twice")
        used.add(name)
        body = expand(pieces[name], pieces, used).splitlines()
        out += [indent + text if text else "" for text in body]
    return "\n".join(out)


def add_to_module(module: Module, cell: Cell, source: str) -> None:
    """Sort a cell's text into docstring, imports and body."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise BookError(f"{cell.where}: {error.msg}: {error.text}") from None
    nodes, lines, first = tree.body, source.splitlines(), 0
    if nodes and ast.get_docstring(tree) is not None:
        if module.docstring or module.bodies:
            raise BookError(f"{cell.where}: a second docstring, or too late")
        first = nodes[0].end_lineno or 0
        module.docstring = "\n".join(lines[:first])
        nodes = nodes[1:]
    for node in nodes:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            break
        module.imports[ast.unparse(node)] = None
        first = node.end_lineno or 0
    body = "\n".join(lines[first:]).strip("\n")
    if body:
        module.bodies.append((cell, body))


def refuse_early_imports(cells: list[Cell]) -> None:
    """A chapter may not import a module before its own cell writes it."""
    writer: dict[str, Cell] = {}
    for cell in cells:
        if target := cell.options.get("file"):
            writer.setdefault(target, cell)
    for cell in cells:
        for name in imported_modules(cell):
            target = f"{PACKAGE}{name.removeprefix('bert.')}.py"
            if name.startswith("bert.") and target in writer:
                first = writer[target]
                if first.chapter == cell.chapter and first.line > cell.line:
                    raise BookError(
                        f"{cell.where} imports {name}, which "
                        f"{first.where} writes later"
                    )


def imported_modules(cell: Cell) -> Iterator[str]:
    """Names of the modules that a cell imports from."""
    for line in cell.lines:
        if found := re.match(r"\s*(?:from|import) (bert\.\w+)", line):
            yield found[1]


def write_out(module: Module) -> str:
    """Return a module's text before the formatter sees it."""
    parts = [HEADER, module.docstring, "\n".join(module.imports)]
    parts += [
        f"# {cell.chapter}: {cell.heading}\n{body}"
        for cell, body in module.bodies
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def ruff(files: dict[str, str], root: Path) -> dict[str, str]:
    """Sort imports and format; one process for each file and step."""
    out = {}
    for target, source in files.items():
        for step in (["check", "--select=I", "--fix-only"], ["format"]):
            source = subprocess.run(
                [sys.executable, "-m", "ruff", *step, "-q", "-"]
                + [f"--stdin-filename={target}"],
                input=source,
                text=True,
                check=True,
                stdout=subprocess.PIPE,
                cwd=root,
            ).stdout
        out[target] = source
    return out


def read_book(root: Path) -> list[Cell]:
    """Return the code cells of all chapters, in the order of `_toc.yml`."""
    names = [f"{name}.md" for name in parse_toc_yaml(root / "_toc.yml")]
    known = [name for name in names if (root / name).is_file()]
    for path in sorted((root / "book").glob("*.md")):
        name = path.relative_to(root).as_posix()
        marked = re.search(
            r"^#\| *(?:file|id):", path.read_text("utf-8"), re.MULTILINE
        )
        if marked and name not in known:
            raise BookError(f"{name} has package cells, not in _toc.yml")
    return [cell for name in known for cell in read_chapter(root / name, name)]


def gather(cells: list[Cell]) -> dict[str, Module]:
    """Sort all cells into the modules that they belong to."""
    pieces: dict[str, Cell] = {}
    for cell in cells:
        if name := cell.options.get("id"):
            if name in pieces:
                raise BookError(f"{cell.where}: `#| id: {name}` is taken")
            pieces[name] = cell
    modules: dict[str, Module] = {}
    used: set[str] = set()
    for cell in cells:
        if target := cell.options.get("file"):
            module = modules.setdefault(target, Module())
            add_to_module(module, cell, expand(cell, pieces, used))
    if spare := pieces.keys() - used:
        raise BookError(f"pieces that no cell uses: {sorted(spare)}")
    return modules


def tangle(root: Path = ROOT) -> dict[str, str]:
    """Return the text of every module, by its path."""
    cells = read_book(root)
    refuse_early_imports(cells)
    modules = gather(cells)
    files = ruff({t: write_out(m) for t, m in modules.items()}, root)
    for target, module in modules.items():
        for cell, body in module.bodies:
            if body not in files[target]:
                raise BookError(
                    f"{cell.where}: ruff would write this cell differently\n"
                    + difference(body, ruff({target: body}, root)[target])
                )
    return files


def difference(old: str, new: str) -> str:
    """Return a unified diff of two texts."""
    return "\n".join(
        difflib.unified_diff(
            old.splitlines(), new.splitlines(), "book", "ruff", lineterm=""
        )
    )


def links(root: Path = ROOT) -> dict[str, list[tuple[str, str, str]]]:
    """For each module the (chapter, heading, label) that wrote it."""
    found: dict[str, dict[tuple[str, str, str], None]] = {}
    for cell in read_book(root):
        if target := cell.options.get("file"):
            place = (cell.chapter, cell.heading, cell.label)
            found.setdefault(target, {})[place] = None
    return {target: list(places) for target, places in found.items()}


def main() -> int:
    """Write the package, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    try:
        files = tangle()
    except BookError as error:
        print(f"tangle: {error}", file=sys.stderr)
        return 1
    there = {
        path.relative_to(ROOT).as_posix(): path
        for path in (ROOT / PACKAGE).glob("*.py")
    }
    differ = []
    for target in sorted(there.keys() | files.keys()):
        path = ROOT / target
        old = path.read_text("utf-8") if target in there else ""
        new = files.get(target, "")
        if old == new:
            continue
        differ.append(target)
        if check:
            print(difference(old, new))
        elif target in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(new, encoding="utf-8")
        else:
            path.unlink()
    done = "differ" if check else "written"
    print(f"{len(files)} modules, {len(differ)} {done} {' '.join(differ)}")
    return 1 if check and differ else 0


if __name__ == "__main__":
    sys.exit(main())
