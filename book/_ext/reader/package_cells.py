"""The package's cells in the pages, and the index of the code.

A cell that is part of the package begins with `#| file: ...`, one that is a
piece with `#| id: ...`. The page shows a caption in place of that line, which
leads to the module in the index of the code; the index leads back.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from bookkit.tangle import Link, links

INDEX = "book/code-index"
MARK = re.compile(r"#\| *(file|id): *(\S+)\n+")


def module_anchor(path: str) -> str:
    """The id of a module in the index: bert-attention."""
    name = path.removeprefix("code/").removesuffix(".py")
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")


def caption_cells(app, doctree: nodes.document, docname: str) -> None:
    """Turn the mark of a package cell into a caption above it."""
    for block in list(doctree.findall(nodes.literal_block)):
        text = block.astext()
        mark = MARK.match(text)
        if not mark:
            continue
        kind, name = mark.groups()
        code = text[mark.end() :]
        block.rawsource = code  # the highlighter compares the two
        block.children = [nodes.Text(code)]
        place = block.parent.index(block)
        block.parent.insert(place, caption(app, docname, kind, name))


def caption(app, docname: str, kind: str, name: str) -> nodes.paragraph:
    """Say where the code of a cell goes."""
    line = nodes.paragraph(classes=["package-cell"])
    if kind == "id":
        line += nodes.Text("piece ")
        line += nodes.literal("", name)
        line += nodes.Text(", put in where its name stands")
        return line
    line += nodes.Text("tangled into ")
    path = name.removeprefix("code/")
    if INDEX in app.env.all_docs:
        page = app.builder.get_relative_uri(docname, INDEX)
        uri = f"{page}#{module_anchor(name)}"
        line += nodes.reference("", path, refuri=uri, internal=True)
    else:
        line += nodes.Text(path)
    return line


class CodeIndex(SphinxDirective):
    """Every module of the package, with links to what wrote it."""

    def run(self) -> list[nodes.Node]:
        """Return a section for each module, in the book's order."""
        self.root = Path(self.env.srcdir)
        written = links(self.root)
        return [self.module(name, written[name]) for name in written]

    def module(self, name: str, written: list[Link]) -> nodes.section:
        """One module: its name, the places that wrote it, its source."""
        path = f"code/{name.replace('.', '/')}.py"
        if not (self.root / path).is_file():
            path = f"code/{name.replace('.', '/')}/__init__.py"
        self.env.note_dependency(str(self.root / path))
        source = (self.root / path).read_text("utf-8")
        title = path.removeprefix("code/")
        section = nodes.section(ids=[module_anchor(path)], names=[title])
        section += nodes.title(title, title)
        section += self.places(written)
        section += nodes.literal_block(source, source, language="python")
        return section

    def places(self, written: list[Link]) -> nodes.bullet_list:
        """One entry for each section that wrote a part of the module."""
        defined: dict[tuple[str, str, str], list[str]] = {}
        for link in written:
            place = link.section
            self.env.note_dependency(str(self.root / place.chapter))
            key = (place.chapter, place.heading, place.anchor)
            defined.setdefault(key, []).extend(link.names)
        entries = nodes.bullet_list()
        for (chapter, heading, anchor), names in defined.items():
            page = Path(chapter).with_suffix("").as_posix()
            line = nodes.paragraph()
            line += self.link(page, anchor, heading)
            if names:
                listed = ", ".join(dict.fromkeys(names))
                line += nodes.Text(f": {listed}")
            entries += nodes.list_item("", line)
        return entries

    def link(self, page: str, anchor: str, text: str) -> nodes.Node:
        """A link to a section, where its chapter is in this build."""
        if page not in self.env.found_docs:
            return nodes.Text(text)
        here = self.env.docname
        uri = self.env.app.builder.get_relative_uri(here, page)
        return nodes.reference(
            "", text, refuri=f"{uri}#{anchor}", internal=True
        )


def connect(app) -> None:
    """Add the captions and the directive `code-index`."""
    app.add_directive("code-index", CodeIndex)
    app.connect("doctree-resolved", caption_cells)
