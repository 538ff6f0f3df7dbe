"""What the head of a page lacks in the theme: a description and an icon.

And the page at the root, which only leads on to the first one.
"""

import re
import textwrap
from html import escape
from pathlib import Path
from urllib.parse import quote

from docutils import nodes

from bookkit.palette import PALETTE

# Three steps of the map, one below the other.
ICON = "data:image/svg+xml," + quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    + "".join(
        f'<rect x="1" y="{y}" width="14" height="4" rx="1.2" '
        f'fill="{PALETTE[name][0]}"/>'
        for y, name in ((1, "token"), (6, "attention"), (11, "logit"))
    )
    + "</svg>",
    safe="/:=",
)
LONGEST = 200  # letters of a description; search engines cut there
REDIRECT = """\
<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="0; url={page}">
<title>{title}</title>
<link rel="icon" href="{icon}">
</head>
<body><p><a href="{page}">{title}</a></p></body>
</html>
"""


def describe(app, pagename, templatename, context, doctree) -> None:
    """Say what a page is about, and give it an icon."""
    text = first_paragraph(doctree) if doctree else ""
    if not text:
        title = re.sub(r"<[^>]+>", "", context.get("title") or "")
        text = ", ".join(filter(None, [title, app.config.html_title]))
    short = textwrap.shorten(text, LONGEST, placeholder=" …")
    context["metatags"] = (
        context.get("metatags") or ""
    ) + f'\n<meta name="description" content="{escape(short)}" />'
    context["favicon_url"] = ICON


def first_paragraph(doctree: nodes.document) -> str:
    """The first paragraph of a page that stands in no box or figure."""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, (nodes.section, nodes.document)):
            return paragraph.astext()
    return ""


def lead_on(app, exception) -> None:
    """Write index.html, before sphinx-external-toc writes a bare one."""
    if exception or app.builder.name != "html":
        return
    if app.config.root_doc != "index":
        (Path(app.outdir) / "index.html").write_text(
            REDIRECT.format(
                lang=app.config.language,
                page=app.builder.get_target_uri(app.config.root_doc),
                title=escape(app.config.html_title),
                icon=ICON,
            ),
            "utf-8",
        )


def connect(app) -> None:
    """Fill the head of each page, and write the page at the root."""
    app.connect("html-page-context", describe)
    app.connect("build-finished", lead_on, priority=400)
