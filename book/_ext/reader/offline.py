"""Files of the pages: ours added, the theme's cut to what is used."""

import re
import shutil
from pathlib import Path

from fontTools import subset

from bookkit.palette import css

BOOK = Path(__file__).parents[2]
VENDOR, WIDGETS = BOOK / "_vendor", BOOK / "_widgets"

INLINE_SCRIPT = re.compile(r"<script>\n(.*?)</script>", re.DOTALL)
SEARCH_LOADER = re.compile(
    r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js'
    r'[^"]*"></script>'
)
ICON_NAME = re.compile(r"\bfa-[a-z0-9-]+")
ICON_RULE = re.compile(
    r'((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"\\([0-9a-f]+) ?"\}'
)


def add_files(app) -> None:
    """Ship the vendored libraries, the palette and the widgets' scripts.

    Not through html_static_path in _config.yml: Jupyter Book loads every
    script and style sheet of the folders named there on every page.
    """
    if app.builder.format != "html":
        return
    app.config.html_static_path.append(str(VENDOR))
    static = Path(app.outdir) / "_static"
    (static / "widgets").mkdir(parents=True, exist_ok=True)
    (static / "palette.css").write_text(css(), "utf-8")
    for path in widget_files():
        shutil.copyfile(path, static / "widgets" / path.name)


def share_widget_scripts(app, pagename, templatename, context, doctree):
    """Load a widget's scripts once, and only on pages that have it.

    A cell's output carries its widget's scripts, so that a notebook shows
    it too. A page loads them as files, which a browser keeps.
    """
    body = context.get("body") or ""
    texts = {path.name: path.read_text("utf-8") for path in widget_files()}
    wanted: dict[str, None] = {}

    def take(found: re.Match) -> str:
        names = [name for name, text in texts.items() if text in found[1]]
        wanted.update(
            dict.fromkeys(
                sorted(names, key=lambda n: found[1].index(texts[n]))
            )
        )
        return "" if names else found[0]

    context["body"] = INLINE_SCRIPT.sub(take, body)
    for name in wanted:
        app.add_js_file(f"widgets/{name}", loading_method="defer")


def widget_files() -> list[Path]:
    """The scripts of all widgets."""
    return sorted(WIDGETS.glob("*.js"))


def finish(app, exception) -> None:
    """Cut the theme's files, when all pages are written."""
    if exception or app.builder.format != "html":
        return
    built = Path(app.outdir)
    static = built / "_static"
    drop_unused(static)
    drop_search_loaders(built)
    cut_icons(built)


def drop_unused(static: Path) -> None:
    """Remove what no browser needs."""
    # Icons come from the web font; this script of 1.4 MiB draws them again.
    script = static / "scripts" / "fontawesome.js"
    if script.is_file():
        script.write_text("/* icons: vendor/fontawesome */\n", "utf-8")
    for pattern in ("*.js.map", "*.css.map", "vendor/fontawesome/**/*.ttf"):
        for unused in static.rglob(pattern):
            unused.unlink()


def drop_search_loaders(built: Path) -> None:
    """Load the search index on the search page and nowhere else."""
    for page in built.rglob("*.html"):
        if page.name != "search.html":
            text = page.read_text("utf-8")
            page.write_text(SEARCH_LOADER.sub("", text), "utf-8")


def cut_icons(built: Path) -> None:
    """Keep only the icons that pages, scripts and style sheets use."""
    static = built / "_static"
    used: set[str] = set()
    for path in [*built.rglob("*.html"), *static.rglob("*.js")]:
        used |= set(ICON_NAME.findall(path.read_text("utf-8", "replace")))
    points: set[int] = set()

    def keep_used(rule: re.Match) -> str:
        if not used & set(ICON_NAME.findall(rule[1])):
            return ""
        points.add(int(rule[2], 16))
        return rule[0]

    for sheet in static.rglob("*.css"):
        text = sheet.read_text("utf-8", "replace")
        rest = ICON_RULE.sub("", text)  # icons that other rules draw
        points |= {int(c, 16) for c in re.findall(r'"\\([ef]\w{3})"', rest)}
        points |= {ord(c) for c in re.findall(r"[\ue000-\uf8ff]", rest)}
        sheet.write_text(ICON_RULE.sub(keep_used, text), "utf-8")
    options = subset.Options(
        flavor="woff2", layout_features="*", ignore_missing_unicodes=True
    )
    webfonts = static / "vendor" / "fontawesome" / "webfonts"
    for font in sorted(webfonts.glob("*.woff2")):
        face = subset.load_font(str(font), options)
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=points)
        cutter.subset(face)
        subset.save_font(face, str(font), options)


def connect(app) -> None:
    """Add our files before the build and cut the theme's after it."""
    app.add_css_file("palette.css")
    app.add_css_file("reader.css", priority=900)  # after the theme's
    app.add_js_file("reader.js")
    app.connect("builder-inited", add_files)
    app.connect("html-page-context", share_widget_scripts, priority=850)
    app.connect("build-finished", finish)
