"""The notebook that a page offers, made to be read without the book.

Jupyter knows neither the roles nor the directives of these pages. A role
becomes the text that it stands for, a drawing is put into the notebook, and a
first cell says where the notebook comes from.
"""

import ast
import base64
import json
import mimetypes
import re
from pathlib import Path

import nbformat

ABOUT = """\
This is a copy of a page of *{title}*. To run it, clone the book's repository \
and see *One chapter* in its README. In JupyterLab, *File > Trust Notebook* \
shows figures and widgets."""

ROLE = re.compile(r"\{([\w:]+)\}`([^`<]*?)(?: *<([^`>]*)>)?`")
IMAGE = re.compile(r"```\{image\} (\S+)\n((?::.*\n)*)```\n?")
ALT = re.compile(r":alt: (.*)")
MARKDOWN = [
    (re.compile(r"```\{exercise-start\}.*\n(?::.*\n)*```"), "**Exercise**\n"),
    (re.compile(r"```\{solution-start\}.*\n(?::.*\n)*```"), "**Solution**\n"),
    (re.compile(r"```\{(?:exercise|solution)-end\}\n```\n?"), ""),
    (re.compile(r"```\{math\}\n(?::.*\n)*(.*?)\n```", re.S), r"$$\n\1\n$$"),
    (re.compile(r"^\$\$ *\(.*\)$", re.M), "$$"),  # the label of an equation
    (re.compile(r"^\([\w/-]+\)=\n", re.M), ""),  # the label of a section
    (re.compile(r"^%.*\n", re.M), ""),  # a comment
]


def make_readable(app, notebook, made: Path, pagename: str) -> None:
    """Change the Markdown cells of an executed notebook, and add the first.

    Args:
        app: Sphinx, when all pages are read.
        notebook: What MyST-NB wrote.
        made: That file; beside it stands what the cells glued.
        pagename: Drawings are named relative to this page.
    """
    beside = made.with_suffix(".glue.json")
    glued = json.loads(beside.read_text("utf-8")) if beside.is_file() else {}
    folder = (Path(app.srcdir) / pagename).parent

    def role(found: re.Match) -> str:
        kind, text, target = found.groups()
        if kind == "glue:text" and text in glued:
            shown = glued[text]["data"]["text/plain"]
            return str(ast.literal_eval(shown)) if shown[0] == "'" else shown
        if kind == "ref" and not target:
            labels = app.env.domaindata["std"]["labels"]
            return labels[text][2] if text in labels else text
        if kind.startswith("cite:"):
            return cited(app, kind, text)
        return f"({text})" if kind == "eq" else text

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = IMAGE.sub(lambda found: drawn(folder, found), cell.source)
            for pattern, replacement in MARKDOWN:
                text = pattern.sub(replacement, text)
            cell.source = ROLE.sub(role, text)
    about = ABOUT.format(title=app.config.html_title)
    first = nbformat.v4.new_markdown_cell(about, id="about-this-copy")
    notebook.cells.insert(0, first)


def drawn(folder: Path, found: re.Match) -> str:
    """A drawing within the text; of a pair, only the one for a light page."""
    place, options = found.groups()
    if "only-dark" in options:
        return ""
    alt = ALT.search(options)
    kind, _ = mimetypes.guess_type(place)
    data = base64.b64encode((folder / place).read_bytes()).decode("ascii")
    return f"![{alt[1] if alt else ''}](data:{kind};base64,{data})\n"


def cited(app, kind: str, keys: str) -> str:
    """A citation as the pages show it: Knuth [1997], or [Knuth, 1997]."""
    entries = {
        citation.key: citation.entry
        for citation in app.env.domaindata["cite"]["citations"]
    }
    shown = []
    for key in map(str.strip, keys.split(",")):
        if key not in entries:  # Sphinx warns
            return f"[{keys}]"
        persons = entries[key].persons.get("author", [])
        names = [" ".join(person.last_names).strip("{}") for person in persons]
        who = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        shown.append((who, entries[key].fields.get("year", "n.d.")))
    if kind == "cite:t":
        return ", ".join(f"{who} [{year}]" for who, year in shown)
    return f"[{'; '.join(f'{who}, {year}' for who, year in shown)}]"
