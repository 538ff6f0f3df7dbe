"""Repairs of the theme's pages; each names the fault that it removes."""

import re
import struct
from pathlib import Path

import nbformat

from reader.notebooks import make_readable

IMAGE = re.compile(
    r'<img(?=[^>]*? src="([^"]+\.(?:svg|png))")(?![^>]*? width=)'
)
SVG_SIZE = re.compile(r"viewBox=['\"][\d.-]+ [\d.-]+ ([\d.]+) ([\d.]+)")
BODY = [
    # docutils: doc-biblioentry is deprecated, and no child of role=list.
    (re.compile(r' role="doc-biblioentry"'), ' role="listitem"'),
    # sphinx-exercise: the same id in every exercise of a page.
    (re.compile(r' id="(?:exercise|solution)-content"'), ""),
    # pandas: the corner of a data frame is an empty header cell.
    (re.compile(r"<th>\s*</th>"), "<td></td>"),
    # pandas: a header cell says which way it points.
    (
        re.compile(r'<table border="1" class="dataframe">.*?</table>', re.S),
        lambda found: with_scope(found[0]),
    ),
]


def with_scope(table: str) -> str:
    """Say of each header cell whether it heads a column or a row."""
    head, mark, body = table.partition("<tbody>")
    head = head.replace("<th>", '<th scope="col">')
    return head + mark + body.replace("<th>", '<th scope="row">')


def clean_body(app, pagename, templatename, context, doctree) -> None:
    """Mend what docutils and pandas write."""
    if context.get("body"):
        for pattern, replacement in BODY:
            context["body"] = pattern.sub(replacement, context["body"])


def size_images(app, pagename, templatename, context, doctree) -> None:
    """Say how large a picture is, so that the text below it stays put."""
    sources = {
        name: Path(app.srcdir) / source
        for source, (_, name) in app.env.images.items()
    }

    def with_size(found: re.Match) -> str:
        source = sources.get(found[1].rpartition("/")[2])
        size = source and size_of(source)
        if not size:
            return found[0]
        return f'<img width="{size[0]}" height="{size[1]}"'

    if context.get("body"):
        context["body"] = IMAGE.sub(with_size, context["body"])


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture, where its file says them."""
    content = path.read_bytes()
    if path.suffix == ".png":
        # A PNG's header: 8 bytes that mark it, 8 of the first chunk's
        # length and name, then both sizes.
        return struct.unpack(">II", content[16:24])
    found = SVG_SIZE.search(content.decode("utf-8"))
    return found and (round(float(found[1])), round(float(found[2])))


def drop_repeated_scripts(app, pagename, templatename, context, doctree):
    """Sphinx 7.4 repeats inline scripts that were added late."""
    seen: set[str] = set()
    scripts = context["script_files"]
    for script in list(scripts):
        text = getattr(script, "attributes", {}).get("body")
        if text is None:
            continue
        if text in seen:
            scripts.remove(script)
        seen.add(text)


def offer_notebook(app, pagename, templatename, context, doctree) -> None:
    """Offer the executed notebook to download.

    The theme offers one for a text notebook only with launch buttons on.
    And where nb_merge_streams is on, MyST-NB 1.1 writes what was printed
    twice into it.
    """
    outdir = Path(app.outdir)
    made = outdir.parent / "jupyter_execute" / f"{pagename}.ipynb"
    if made.is_file() and context.get("page_source_suffix") == ".md":
        offered = outdir / "_sources" / f"{pagename}.ipynb"
        offered.parent.mkdir(parents=True, exist_ok=True)
        notebook = nbformat.read(made, as_version=nbformat.NO_CONVERT)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = without_repeats(cell.outputs)
        make_readable(app, notebook, made, pagename)
        nbformat.write(notebook, offered)
        context["ipynb_source"] = f"{pagename}.ipynb"


def without_repeats(outputs: list) -> list:
    """Drop the streams whose text was appended to the first of their name.

    MyST-NB merges a cell's streams for the page, and changes the first one
    in the notebook as well.
    """
    streams: dict[str, list] = {}
    for output in outputs:
        if output.output_type == "stream":
            streams.setdefault(output.name, []).append(output)
    repeats = []
    for first, *later in streams.values():
        texts = [stream.text.rstrip() for stream in later]
        if first.text.endswith("".join(f"{t}\n" for t in texts if t)):
            repeats += later
    return [
        output
        for output in outputs
        if not any(output is repeat for repeat in repeats)
    ]


def colab_opens_notebooks(app, pagename, templatename, context, doctree):
    """Colab opens no .md file: name the notebook published with the pages."""
    branch = app.config.reader_html_branch
    for group in context.get("header_buttons") or []:
        for button in group.get("buttons", []):
            url = button.get("url", "")
            if "colab." in url and url.endswith(".md"):
                repository = url.split("/blob/")[0]
                button["url"] = (
                    f"{repository}/blob/{branch}/_sources/{pagename}.ipynb"
                )


def connect(app) -> None:
    """Connect the repairs, in the order in which they need each other."""
    app.add_config_value("reader_html_branch", "gh-pages", "html")
    page = "html-page-context"
    app.connect(page, offer_notebook, priority=400)
    app.connect(page, colab_opens_notebooks, priority=800)
    app.connect(page, drop_repeated_scripts, priority=900)
    app.connect(page, clean_body, priority=900)
    app.connect(page, size_images, priority=900)
