"""What can be known of the built pages without a browser."""

import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

# What an audit calls with each fault: kind, page, mode, what is wrong.
Report = Callable[[str, str, str, str], None]

BUDGET = 300 * 1024  # bytes of a page, compressed, without pictures and data
EXTERNAL = re.compile(r"(?:https?:|wss?:)?//", re.IGNORECASE)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
CSS_URL = re.compile(
    r"""(?:url\(\s*|@import\s+)['"]?((?:https?:)?//[^'")\s;]+)""",
    re.IGNORECASE,
)
FILE_NAME = re.compile(
    r"\.(png|svg|jpe?g|gif|webp|avif)$|^[0-9a-f]{16,}$|^_images/",
    re.IGNORECASE,
)
# Links of a page's head that a reader follows; all others are loaded.
FOLLOWED = set("canonical next prev index search author license".split())
LOADING = set("script img iframe audio video source embed track".split())
HEAD = ("description", "icon")
NO_PAGES = {"_static", "_sources", "_downloads", "_images"}

PICTURE = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
JSON = re.compile(r'<script type="application/json">.*?</script>', re.DOTALL)
NO_TEXT = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".json"}


class Page(HTMLParser):
    """The links, pictures and ids of one page."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []  # what a reader may follow
        self.assets: list[str] = []  # what a browser loads
        self.pictures: list[tuple[str, str | None]] = []  # source, alt
        self.unnamed_drawings = 0
        self.head: set[str] = set()  # what it holds of HEAD
        self.styles: list[str] = []
        self.redirects = False
        self.in_style = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Note what a tag refers to."""
        found = {name: value or "" for name, value in attributes}
        self.in_style = tag == "style"
        if found.get("id"):
            self.ids[found["id"]] += 1
        if "style" in found:
            self.styles.append(found["style"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif tag == "link" and found.get("href"):
            kinds = set(found.get("rel", "").lower().split())
            followed = FOLLOWED & kinds
            self.head |= kinds & {"icon"}
            (self.links if followed else self.assets).append(found["href"])
        elif tag in LOADING and found.get("src"):
            self.assets.append(found["src"])
        elif tag == "object" and found.get("data"):
            self.assets.append(found["data"])
        elif (
            tag == "meta" and found.get("http-equiv", "").lower() == "refresh"
        ):
            self.redirects = True
            self.links.append(found["content"].rpartition("=")[2])
        elif tag == "meta" and found.get("content", "").strip():
            self.head.add(found.get("name", "").lower())
        if tag == "img":
            self.pictures.append((found.get("src", ""), found.get("alt")))
        if tag == "svg" and found.get("role") == "img":
            self.unnamed_drawings += not found.get("aria-label")

    def handle_endtag(self, tag):
        """Leave a style sheet."""
        self.in_style = self.in_style and tag != "style"

    def handle_data(self, data):
        """Note the text of a style sheet."""
        if self.in_style:
            self.styles.append(data)


def read_pages(root: Path) -> dict[str, Page]:
    """Read all pages of a built book, by their place in it."""
    paths = sorted(root.rglob("*.html"))
    names = [path.relative_to(root) for path in paths]
    return {
        name.as_posix(): Page(path.read_text("utf-8"))
        for name, path in zip(names, paths, strict=True)
        if name.parts[0] not in NO_PAGES
    }


def audit_files(root: Path, pages: dict[str, Page], report: Report) -> None:
    """Report dead links, pictures and pages without text, other hosts."""
    for name, page in pages.items():
        for url in dict.fromkeys(page.links + page.assets):
            if EXTERNAL.match(url):
                if url in page.assets:
                    report("external", name, "files", url)
            elif not SCHEME.match(url):
                if fault := dead_link(root, pages, name, url):
                    report("links", name, "files", f"{url}: {fault}")
        for identity, count in page.ids.items():
            if count > 1:
                report("links", name, "files", f"{count} ids {identity!r}")
        for source, alt in page.pictures:
            if alt is None or FILE_NAME.search(alt.strip()):
                report("alt", name, "files", f"{source}: alt text is {alt!r}")
        for part in HEAD:
            if part not in page.head and not page.redirects:
                report("head", name, "files", f"no {part}")
        if page.unnamed_drawings:
            fault = f"{page.unnamed_drawings} drawings without a text"
            report("alt", name, "files", fault)
        for url in external_urls(page.styles):
            report("external", name, "files", url)
    for sheet in sorted(root.rglob("*.css")):
        for url in external_urls([sheet.read_text("utf-8")]):
            place = sheet.relative_to(root).as_posix()
            report("external", place, "files", url)


def dead_link(
    root: Path, pages: dict[str, Page], name: str, url: str
) -> str | None:
    """Say why a link leads nowhere; None if it leads somewhere."""
    target = urlsplit(urljoin(f"http://book/{name}", url))
    path = unquote(target.path).lstrip("/")
    if not path or path.endswith("/"):
        path += "index.html"
    if not (root / path).is_file():
        return "no such file"
    fragment = unquote(target.fragment)
    if fragment and path in pages and fragment not in pages[path].ids:
        return "no such anchor"
    return None


def external_urls(styles: list[str]) -> Iterator[str]:
    """The other hosts that style sheets ask."""
    for style in styles:
        yield from CSS_URL.findall(style)


def weight(root: Path, places: Iterable[str]) -> int:
    """The bytes that a server sends for files; pictures and data not."""
    return sum(
        compressed(root / place)
        for place in places
        if Path(place).suffix not in NO_TEXT and "/live/" not in place
    )


@cache
def compressed(path: Path) -> int:
    """The bytes of a file as a server sends it."""
    content = path.read_bytes()
    if path.suffix == ".woff2":  # compressed already
        return len(content)
    if path.suffix == ".html":
        text = JSON.sub("", PICTURE.sub("", content.decode("utf-8")))
        content = text.encode("utf-8")
    return len(gzip.compress(content, 6))
