"""Make the rendered book light, offline and accessible.

Local Sphinx extension for Jupyter Book 1.0.4 (Sphinx 7.4, sphinx-book-theme 1.3.0,
pydata-sphinx-theme 0.17.1). Every repair names the fault that it removes; each is guarded,
so that a theme that has mended the fault is left alone.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from docutils import nodes
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.math import get_node_equation_number

logger = logging.getLogger(__name__)
BOOK = Path(__file__).resolve().parent.parent
VENDOR, WIDGETS = BOOK / "_vendor", BOOK / "_widgets"
sys.path.insert(0, str(BOOK.parent / "code"))

from bookkit.palette import css  # noqa: E402
from bookkit.tangle import links  # noqa: E402

# In the order in which data flow.
MODULES = [
    f"bert.{name}"
    for name in (
        "config normalization wordpiece tokenizer checkpoint embeddings"
        " layer_norm linear attention feed_forward encoder inputs model heads"
        " fill_mask wordpiece_training pretraining_data pretraining engine"
        " fast_tokenizer"
    ).split()
] + ["bert"]
BODY = [
    # docutils: the deprecated role doc-biblioentry is no permitted child of role=list
    (re.compile(r' role="doc-biblioentry"'), ' role="listitem"'),
    # pandas: the corner of a data frame is an empty header cell
    (re.compile(r"<th>\s*</th>"), "<td></td>"),
    # pandas: a header cell says which way it points
    (re.compile(r'(<table border="1" class="dataframe">.*?</table>)', re.S), lambda m: scope(m[1])),
]


def scope(table: str) -> str:
    head, mark, body = table.partition("<tbody>")
    return head.replace("<th>", '<th scope="col">') + mark + body.replace("<th>", '<th scope="row">')


def add_vendor(app):
    # html_static_path is extended here, not in _config.yml: Jupyter Book adds every .js and
    # .css file under the configured static folders to every page.
    app.config.html_static_path.append(str(VENDOR))


def write_own_files(app, exception):
    """Write the palette's style sheet and the widgets' scripts."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    (static / "palette.css").write_text(css(), "utf-8")
    if WIDGETS.is_dir():
        shutil.copytree(WIDGETS, static / "widgets", dirs_exist_ok=True)


def load_widgets(app, pagename, templatename, context, doctree):
    """A page with a widget's element gets its script, and no other page."""
    body = context.get("body") or ""
    for script in sorted(WIDGETS.glob("*.js")):
        if f"<{script.stem}" in body:
            app.add_js_file(f"widgets/{script.name}", loading_method="defer")


def name_the_file(app, doctree):
    """Turn the `#| file:` line of a package cell into a caption above it."""
    for block in doctree.findall(nodes.literal_block):
        found = re.match(r"#\| (file|id): (\S+)\n", block.astext())
        if not found:
            continue
        rest = block.astext()[found.end() :].lstrip("\n")
        if found[1] == "file":
            path = found[2].removeprefix("code/")
            note = f"tangled into {path}"
            kind = "package-cell"
        else:
            note, kind = f"piece: {found[2]}", "package-piece"
        label = nodes.paragraph("", note, classes=[kind])
        if found[1] == "file":
            module = module_anchor(path)
            link = nodes.raw(
                "",
                f'<a href="code-index.html#{module}">{path}</a>',
                format="html",
            )
            label = nodes.paragraph("", "", nodes.Text("tangled into "), link, classes=[kind])
        block.rawsource = rest
        block.children = [nodes.Text(rest)]
        block.parent.insert(block.parent.index(block), label)


def offer_notebook(app, pagename, templatename, context, doctree):
    """Offer the executed notebook of a text-based page; the theme does so only with launch buttons."""
    made = Path(app.outdir).parent / "jupyter_execute" / f"{pagename}.ipynb"
    if made.is_file() and context.get("page_source_suffix") == ".md":
        to = Path(app.outdir) / "_sources" / f"{pagename}.ipynb"
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, to)
        context["ipynb_source"] = f"{pagename}.ipynb"


def colab_opens_notebooks(app, pagename, templatename, context, doctree):
    """Colab opens no .md file: point it at the notebook that is published with the HTML."""
    for group in context.get("header_buttons") or []:
        for button in group.get("buttons", []):
            url = button.get("url", "")
            if "colab." in url and url.endswith(".md"):
                repo = url.split("/blob/")[0]
                button["url"] = f"{repo}/blob/{app.config.reader_html_branch}/_sources/{pagename}.ipynb"


def clean_page(app, pagename, templatename, context, doctree):
    # Sphinx 7.4 repeats inline scripts added after the builder's start (togglebutton, thebe).
    seen, scripts = set(), context["script_files"]
    for script in list(scripts):
        body = getattr(script, "attributes", {}).get("body")
        if body is not None and body in seen:
            scripts.remove(script)
        seen.add(body)
    if context.get("body"):
        for pattern, by in BODY:
            context["body"] = pattern.sub(by, context["body"])


def trim(app, exception):
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    # Icons come from the web font in the style sheet; the 1.4 MiB script draws them again.
    script = static / "scripts" / "fontawesome.js"
    if script.is_file():
        script.write_text("/* icons: see the fonts in ../vendor/fontawesome */\n")
    for unused in [*static.rglob("*.js.map"), *static.rglob("*.css.map"), *static.rglob("vendor/fontawesome/**/*.ttf")]:
        unused.unlink()
    # Every page loads the search index before it shows anything; only search.html needs it.
    loaders = re.compile(r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>')
    for page in Path(app.outdir).rglob("*.html"):
        if page.name != "search.html":
            text = page.read_text("utf-8")
            page.write_text(loaders.sub("", text), "utf-8")
    subset_icons(Path(app.outdir))


def subset_icons(outdir: Path) -> None:
    """Keep only the icons that the pages and style sheets use."""
    try:
        from fontTools import subset
    except ImportError:
        return
    fonts = outdir / "_static" / "vendor" / "fontawesome" / "webfonts"
    used, points = set(), set()
    for file in [*outdir.rglob("*.html"), *(outdir / "_static").rglob("*.js")]:
        used |= set(re.findall(r"\bfa-[a-z0-9-]+", file.read_text("utf-8", "replace")))
    icon = re.compile(r'((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"\\([0-9a-f]+) ?"\}')
    for sheet in (outdir / "_static").rglob("*.css"):
        css = sheet.read_text("utf-8", "replace")
        for selectors, code in icon.findall(css):
            if used & set(re.findall(r"fa-[a-z0-9-]+", selectors)):
                points.add(int(code, 16))
        rest = icon.sub("", css)  # icons that a theme's own rules draw
        points |= {int(c, 16) for c in re.findall(r'"\\([ef][0-9a-f]{3})"', rest)}
        points |= {ord(c) for c in re.findall(r"[\ue000-\uf8ff]", rest)}
    for font in fonts.glob("*.woff2"):
        options = subset.Options(flavor="woff2", layout_features="*", ignore_missing_unicodes=True)
        try:
            face = subset.load_font(str(font), options)
            cutter = subset.Subsetter(options)
            cutter.populate(unicodes=points)
            cutter.subset(face)
            subset.save_font(face, str(font), options)
        except ImportError:  # woff2 needs the package brotli
            return


class Katex:
    """Formulas set at build time: no script, no wait and no jump for the reader."""

    def __init__(self, script: Path):
        import dukpy

        self.js = dukpy.JSInterpreter()
        self.js.evaljs("var self = this;" + script.read_text("utf-8") + "; var K = self.katex || katex; 1")
        self.made: dict[tuple[str, bool], str] = {}

    def __call__(self, tex: str, display: bool) -> str:
        key = (tex, display)
        if key not in self.made:
            self.made[key] = self.js.evaljs(
                "K.renderToString(dukpy.tex, {displayMode: dukpy.display, throwOnError: true,"
                " strict: 'ignore', macros: dukpy.macros})",
                tex=tex, display=display, macros={},
            )
        return self.made[key]


def katex(self, node, display: bool) -> str:
    tex = node.astext()
    if display:
        tex = re.sub(r"\\(begin|end)\{(align|alignat|gather|equation)\}", r"\\\1{\2*}", tex)
        if not node.get("nowrap"):
            parts = [p for p in tex.split("\n\n") if p.strip()]
            parts = [r"\begin{split}" + p + r"\end{split}" if r"\\" in p and r"\begin" not in p else p for p in parts]
            tex = parts[0] if len(parts) == 1 else r"\begin{gathered}" + r"\\".join(parts) + r"\end{gathered}"
    app = self.builder.app
    if not hasattr(app, "reader_katex"):
        app.reader_katex = Katex(Path(__file__).with_name("katex.min.js"))
    try:
        return app.reader_katex(tex, display)
    except Exception as error:  # noqa: BLE001  (dukpy raises its own)
        logger.warning("formula not understood: %s", str(error).splitlines()[0], location=node, type="math")
        return "<code class=katex-error>" + self.encode(tex) + "</code>"


def visit_math(self, node):
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight") + katex(self, node, False) + "</span>")
    raise nodes.SkipNode


def visit_math_block(self, node):
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append(katex(self, node, True) + "</div>\n")
    raise nodes.SkipNode


class CodeIndex(SphinxDirective):
    """Every module of the package, with links to the sections that wrote it."""

    def run(self):
        root = BOOK.parent
        written = links(root)
        sections = []
        for name in MODULES:
            path = f"code/{name.replace('.', '/')}.py"
            if name == "bert":
                path = "code/bert/__init__.py"
            if name not in written or not (root / path).is_file():
                continue
            self.env.note_dependency(str(root / path))
            title = path.removeprefix("code/")
            section = nodes.section(
                "", nodes.title(title, title), ids=[module_anchor(title)]
            )
            section += self.places(written[name])
            source = (root / path).read_text("utf-8")
            section += nodes.literal_block(source, source, language="python")
            sections.append(section)
        return sections

    def places(self, found):
        """One list entry for each section that wrote a part of the module."""
        names: dict[tuple[str, str, str], list[str]] = {}
        for link in found:
            place = link.section
            key = (place.chapter, place.heading, place.anchor)
            names.setdefault(key, []).extend(link.names)
        entries = nodes.bullet_list()
        for (chapter, heading, anchor), defined in names.items():
            page = Path(chapter).stem + ".html"
            text = nodes.paragraph()
            text += nodes.reference(
                "", heading, refuri=f"{page}#{anchor}", internal=True
            )
            if defined:
                text += nodes.Text(": " + ", ".join(dict.fromkeys(defined)))
            entries += nodes.list_item("", text)
        return entries


def module_anchor(path: str) -> str:
    """The anchor of a module in the code index."""
    return path.removesuffix(".py").strip("_").replace("/", "-").replace("_", "-")


def setup(app):
    app.add_html_math_renderer("reader", (visit_math, None), (visit_math_block, None))
    app.add_css_file("katex/katex.min.css")
    app.add_css_file("palette.css")
    app.add_directive("code-index", CodeIndex)
    app.connect("doctree-read", name_the_file)
    app.connect("html-page-context", load_widgets, priority=850)
    app.connect("build-finished", write_own_files)
    app.connect("builder-inited", add_vendor)
    app.add_config_value("reader_html_branch", "gh-pages", "html")
    app.connect("html-page-context", offer_notebook, priority=400)
    app.connect("html-page-context", colab_opens_notebooks, priority=800)
    app.connect("html-page-context", clean_page, priority=900)
    app.connect("build-finished", trim)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
