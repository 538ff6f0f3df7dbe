"""Print the built book as one PDF, by Chromium.

The pages' articles are put behind one another into one page, everything that
is folded is opened, and links between chapters become links within the PDF.
Formulas and drawings are those of the screen; a widget is replaced by the
table or figure that stands inside it. Run it on the folder of built pages:

    python -m bookkit.pdf _build/html _build/bert.pdf
"""

import argparse
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

from bs4 import BeautifulSoup, Tag
from playwright.sync_api import sync_playwright

from bookkit.audit import FLAGS, browser_path

NUMBER = (
    '<div style="width: 100%; text-align: center; font-size: 8pt">'
    '<span class="pageNumber"></span></div>'
)
# What only a screen needs.
DROPPED = "script, .headerlink, .copybtn, .toggle-button, .only-dark, noscript"
STYLE = """
@page { size: A4; margin: 18mm 16mm; }
body { padding: 0 !important; }
.printed { max-width: none; padding: 0; }
.printed:not(:last-child) { break-after: page; }
"""
# Attributes that name an id of the same page.
NAMING = ("id", "for", "aria-labelledby", "aria-describedby", "aria-controls")


def read(path: Path) -> BeautifulSoup:
    """Parse a page."""
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def chapters(index: BeautifulSoup) -> list[str]:
    """The pages of the book, in the order of its contents."""
    links = index.select("nav.bd-links a.reference.internal")
    return ["index.html", *(str(a["href"]) for a in links)]


def one_page(folder: Path) -> str:
    """Join the articles of all pages into one page."""
    page = read(folder / "index.html")
    names = list(dict.fromkeys(n for n in chapters(page) if "#" not in n))
    sections = [printed(read(folder / name), name, names) for name in names]
    body = page.body
    assert page.html and page.head and body
    page.html["data-theme"] = "light"
    body.clear()
    body.extend(sections)
    for script in page.select("script"):
        script.decompose()
    style = page.new_tag("style")
    style.string = STYLE
    page.head.append(style)
    return str(page)


def printed(page: BeautifulSoup, name: str, names: list[str]) -> Tag:
    """The article of a page, whose ids are unlike those of all others."""
    article = page.select_one("article.bd-article")
    assert article, f"{name} has no article"
    for part in article.select(DROPPED):
        part.decompose()
    for details in article.select("details"):
        details["open"] = ""
    for tag in article.find_all(True):
        rename(tag, name, names)
    article["class"] = "bd-article printed"
    article["id"] = identity(name, "")
    return article


def rename(tag: Tag, name: str, names: list[str]) -> None:
    """Give the ids that a tag has or names the chapter's name."""
    for attribute, value in list(tag.attrs.items()):
        if not isinstance(value, str):
            continue
        if attribute in NAMING:
            tag[attribute] = " ".join(
                identity(name, part) for part in value.split()
            )
        elif attribute in ("href", "xlink:href"):
            tag[attribute] = inner_link(value, name, names)
        elif "url(#" in value:
            tag[attribute] = re.sub(
                r"url\(#([^)]+)\)",
                lambda found: f"url(#{identity(name, found[1])})",
                value,
            )


def inner_link(link: str, name: str, names: list[str]) -> str:
    """A link to a page of the book becomes one within the PDF."""
    parts = urlsplit(link)
    page = parts.path or name
    if parts.scheme or parts.netloc or page not in names:
        return link
    return f"#{identity(page, parts.fragment)}"


def identity(name: str, fragment: str) -> str:
    """The id in the one page of an id in a page."""
    return f"{name.removesuffix('.html')}--{fragment}"


def print_pdf(built: Path, target: Path) -> None:
    """Print the built book.

    Args:
        built: The folder of the pages, such as `_build/html`.
        target: The PDF to write.

    Raises:
        FileNotFoundError: There is no page, or no browser.
    """
    folder = built.resolve() / "book"
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(
            f"{folder.parent} holds no page: build the book first"
        )
    joined = folder / "printed.html"  # beside the pages, for its pictures
    joined.write_text(one_page(folder), "utf-8")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=browser_path(), args=FLAGS
            )
            tab = browser.new_page(color_scheme="light")
            tab.goto(joined.as_uri())
            tab.evaluate("() => document.fonts.ready.then(() => null)")
            tab.pdf(
                path=target,
                prefer_css_page_size=True,
                print_background=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=NUMBER,
                outline=True,
                tagged=True,
            )
            browser.close()
    finally:
        joined.unlink()


def main() -> int:
    """Print the book; says where."""
    parser = argparse.ArgumentParser(
        prog="python -m bookkit.pdf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("html", type=Path, help="such as _build/html")
    parser.add_argument("pdf", type=Path, help="the file to write")
    chosen = parser.parse_args()
    try:
        print_pdf(chosen.html, chosen.pdf)
    except FileNotFoundError as error:
        sys.exit(f"pdf: {error}")
    print(f"{chosen.pdf}: {chosen.pdf.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
