"""What the tree of files promises."""

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from bookkit.tangle import visible

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "code" / "bert"
MODULES = sorted(
    path.relative_to(ROOT / "code").with_suffix("").as_posix()
    for path in visible(PACKAGE, "*.py")
)
# What the package may not reach, when it is imported or when it runs.
FORBIDDEN = {"transformers", "tokenizers", "bookkit", "matplotlib", "pickle"}


def imports(path: Path) -> set[str]:
    """All modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module)
    return found


def test_code_is_no_package():
    # It would shadow the standard library's module `code`.
    assert not (ROOT / "code" / "__init__.py").exists()
    import code

    assert hasattr(code, "InteractiveConsole")


@pytest.mark.parametrize("module", MODULES)
def test_the_package_names_no_forbidden_module(module):
    path = ROOT / "code" / f"{module}.py"
    tops = {name.split(".")[0] for name in imports(path)}
    assert not tops & FORBIDDEN


def test_importing_the_package_reaches_no_forbidden_module_and_no_network():
    names = [module.replace("/", ".") for module in MODULES]
    names = [name.removesuffix(".__init__") for name in names]
    assert "bert" in names
    # torch itself imports pickle.
    forbidden = FORBIDDEN - {"pickle"} | {"huggingface_hub", "requests"}
    program = f"""
import importlib, socket, sys

def refuse(*arguments):
    raise AssertionError(f"a connection to {{arguments}}")

socket.socket.connect = refuse
socket.getaddrinfo = refuse
for name in {names}:
    importlib.import_module(name)
found = {forbidden} & set(sys.modules)
assert not found, found
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT / "code")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_no_two_modules_of_the_package_import_each_other():
    graph = {}
    for module in MODULES:
        name = module.replace("/", ".").removesuffix(".__init__")
        within = {
            other
            for other in imports(ROOT / "code" / f"{module}.py")
            if other.split(".")[0] == "bert"
        }
        graph[name] = within
        assert "bert" not in within, f"{name} imports the package's face"
    # Raises CycleError when two import each other, also by way of others.
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(graph), "an import of a module that is not there"


CODE_CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```", re.S | re.M)
NOT_PYTHON = (":", "%", "#|")  # options, magics and marks at a line's start
TO_BE_SEEN = re.compile(r"figures\.(show|table)\(|widgets\.\w+_view\(")


@pytest.mark.parametrize(
    "chapter", sorted((ROOT / "book").glob("*.md")), ids=lambda path: path.stem
)
def test_a_figure_ends_its_cell_or_else_no_reader_sees_it(chapter):
    for cell in CODE_CELL.findall(chapter.read_text(encoding="utf-8")):
        lines = [x for x in cell.split("\n") if not x.startswith(NOT_PYTHON)]
        try:
            module = ast.parse("\n".join(lines))
        except SyntaxError:  # a piece that stands inside a function
            assert not TO_BE_SEEN.search(cell)
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.Expr) and node is not module.body[-1]:
                shown = ast.unparse(node)
                assert not TO_BE_SEEN.match(shown), f"not seen: {shown:.60}"
