"""Set formulas when the book is built: no script, no wait, no jump.

KaTeX is one JavaScript file; dukpy runs it inside this process.
"""

import re
from functools import cache
from pathlib import Path

import dukpy
from docutils import nodes
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

logger = logging.getLogger(__name__)
KATEX = Path(__file__).with_name("katex.min.js")

# KaTeX numbers equations itself unless their environment is starred; here
# Sphinx numbers them.
NUMBERED = re.compile(r"\\(begin|end)\{(align|alignat|gather|equation)\}")


@cache
def interpreter() -> dukpy.JSInterpreter:
    """The JavaScript interpreter with KaTeX in it."""
    made = dukpy.JSInterpreter()
    made.evaljs(f"var self = this; {KATEX.read_text('utf-8')}; 1")
    return made


@cache
def html(tex: str, display: bool) -> str:
    """One formula as HTML, with MathML in it for screen readers."""
    return interpreter().evaljs(
        "(self.katex || katex).renderToString(dukpy.tex, {"
        "displayMode: dukpy.display, throwOnError: true, strict: 'ignore'})",
        tex=tex,
        display=display,
    )


def display_tex(node: nodes.Element) -> str:
    """The TeX of a formula that stands alone."""
    tex = NUMBERED.sub(r"\\\1{\2*}", node.astext())
    if node.get("nowrap"):
        return tex
    lines = [part for part in tex.split("\n\n") if part.strip()]
    lines = [
        rf"\begin{{split}}{part}\end{{split}}"
        if r"\\" in part and r"\begin" not in part
        else part
        for part in lines
    ]
    if len(lines) == 1:
        return lines[0]
    rows = r"\\".join(lines)
    return rf"\begin{{gathered}}{rows}\end{{gathered}}"


def render(translator, node: nodes.Element, tex: str, display: bool) -> str:
    """A formula as HTML; one that KaTeX refuses is a warning."""
    try:
        return html(tex, display)
    except dukpy.JSRuntimeError as error:
        reason = str(error).splitlines()[0]
        logger.warning(
            "formula not understood: %s", reason, location=node, type="math"
        )
        return f"<code class=katex-error>{translator.encode(tex)}</code>"


def visit_inline(translator, node: nodes.math) -> None:
    """Write a formula that stands in a line."""
    opening = translator.starttag(
        node, "span", "", CLASS="math notranslate nohighlight"
    )
    formula = render(translator, node, node.astext(), display=False)
    translator.body.append(f"{opening}{formula}</span>")
    raise nodes.SkipNode


def visit_display(translator, node: nodes.math_block) -> None:
    """Write a formula that stands alone, with its number."""
    body = translator.body
    body.append(
        translator.starttag(node, "div", CLASS="math notranslate nohighlight")
    )
    if node["number"]:
        number = get_node_equation_number(translator, node)
        body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, _("Link to this equation"))
        body.append("</span>")
    formula = render(translator, node, display_tex(node), display=True)
    body.append(f"{formula}</div>\n")
    raise nodes.SkipNode


def connect(app) -> None:
    """Register the renderer that _config.yml names `reader`."""
    app.add_html_math_renderer(
        "reader", (visit_inline, None), (visit_display, None)
    )
    app.add_css_file("katex/katex.min.css")
