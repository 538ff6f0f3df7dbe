"""Look at every page of the built book as a reader meets it: in a browser.

Each page is opened in a light window, in a dark one (there from the disk, as
an unpacked download is read; the others from a server), and on a phone of 390
pixels. Names of other hosts do not resolve. What is found wrong is printed as
`kind page [modes] what`:

external   a request to another host, or a reference to one
console    an error that the browser wrote, or an exception
failed     a request without an answer, a page that does not load
axe        a rule of axe-core that is broken, all folded parts and menus open;
           or text in the colour of its own ground
overflow   a page that scrolls sideways, or content that is cut off
math       a formula that was left as TeX
alt        a picture without an alternative text
head       a page without a description or an icon
links      an internal link or file that does not exist; an id used twice
keyboard   a toggle, tab or copy button that keys do not reach or open
copy       code without a copy button, or with a line that is not code
download   a page with cells that offers no notebook
search     a term of the glossary that the book's search does not find
weight     more than 300 KiB compressed, without pictures and data

Needs Chromium (Debian's package `chromium`) and what requirements.txt lists.
"""

import argparse
import importlib.util
import re
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from playwright.sync_api import Browser, Error, sync_playwright
from playwright.sync_api import Page as Tab

from bookkit.audit_files import BUDGET, audit_files, read_pages, weight

QUESTIONS = Path(__file__).with_suffix(".js").read_text("utf-8")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    # A book must be readable without a network.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
MODES: dict[str, dict[str, Any]] = {
    "light": DESKTOP | {"color_scheme": "light"},
    "dark": DESKTOP | {"color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "is_mobile": True,
        "has_touch": True,
    },
}
# axe's rules on colour: judged on the two desktops. The others: on the light
# desktop and the phone.
COLOURS = ["color-contrast", "link-in-text-block"]
AXE_OPTIONS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"runOnly": {"type": "rule", "values": COLOURS}},
    "phone": {"rules": {rule: {"enabled": False} for rule in COLOURS}},
}


@dataclass
class Findings:
    """What is wrong, and what was measured."""

    faults: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    shifts: dict[str, float] = field(default_factory=dict)

    def report(self, kind: str, page: str, mode: str, what: str) -> None:
        """Note a fault, once for each mode."""
        modes = self.faults.setdefault((kind, page, what), [])
        if mode not in modes:
            modes.append(mode)

    def kinds(self, page: str) -> set[str]:
        """The kinds of faults of one page."""
        return {kind for kind, place, _ in self.faults if place == page}


def audit(root: Path, pictures: Path | None = None) -> Findings:
    """Audit a folder of built pages.

    Args:
        root: The folder, such as `_build/html`.
        pictures: Where to put a picture of each page in each mode.

    Raises:
        FileNotFoundError: There is no page, or no browser.
    """
    root = root.resolve()
    findings = Findings()
    pages = read_pages(root)
    if not pages:
        raise FileNotFoundError(f"{root} holds no page: build the book first")
    audit_files(root, pages, findings.report)
    names = [name for name, page in pages.items() if not page.redirects]
    with serve(root) as origin, ThreadPoolExecutor(2) as pool:
        rounds = [
            pool.submit(
                Round(root, origin, mode, findings, pictures).run, names
            )
            for mode in MODES
        ]
        for waiting in rounds:
            waiting.result()
    return findings


class Quiet(SimpleHTTPRequestHandler):
    """A server that writes no log, and lets the browser keep files."""

    protocol_version = "HTTP/1.1"

    def end_headers(self):
        """Let shared files be read once."""
        self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()

    def log_message(self, *arguments):
        """Write nothing."""


@contextmanager
def serve(root: Path) -> Iterator[str]:
    """Serve a folder on this machine; gives the address."""
    handler = partial(Quiet, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def browser_path() -> str:
    """The browser of this machine."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        raise FileNotFoundError(
            "there is no Chromium; on Debian: apt-get install chromium"
        )
    return found


def axe_source() -> str:
    """The script of axe-core."""
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec and spec.origin
    return (Path(spec.origin).parent / "axe.min.js").read_text("utf-8")


class Round:
    """One visit to every page, in one mode."""

    def __init__(
        self,
        root: Path,
        origin: str,
        mode: str,
        findings: Findings,
        pictures: Path | None,
    ):
        self.root, self.mode, self.findings = root, mode, findings
        self.pictures = pictures
        self.base = root.as_uri() + "/" if mode == "dark" else origin
        self.page = ""
        self.axe = axe_source()

    def run(self, names: list[str]) -> None:
        """Visit the pages."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=browser_path(), args=FLAGS
            )
            self.tab = self.new_tab(browser)
            for name in names:
                self.page = name
                try:
                    self.visit()
                except Error as error:
                    self.report("failed", error.message.splitlines()[0])
            if self.mode != "phone" and "search.html" in names:
                self.page = "search.html"
                self.search()
            browser.close()

    def new_tab(self, browser: Browser) -> Tab:
        """A tab that reports what goes wrong in it."""
        context = browser.new_context(
            service_workers="block",
            reduced_motion="reduce",
            **MODES[self.mode],
        )
        context.add_init_script(QUESTIONS)
        tab = context.new_page()
        tab.set_default_timeout(90_000)  # for a machine that is very busy
        tab.on("request", lambda request: self.requested(request.url))
        tab.on("websocket", lambda socket: self.requested(socket.url))
        tab.on("requestfailed", self.request_failed)
        tab.on("response", self.answered)
        tab.on("console", self.said)
        tab.on("pageerror", lambda error: self.report("console", str(error)))
        return tab

    def report(self, kind: str, what: str) -> None:
        """Note a fault of the page that is open."""
        what = " ".join(what.split())[:300]
        self.findings.report(kind, self.page, self.mode, what)

    def is_own(self, url: str) -> bool:
        """Whether an address belongs to the book."""
        return url.startswith((self.base, "data:", "blob:", "about:"))

    def requested(self, url: str) -> None:
        """No page asks another host for anything."""
        if not self.is_own(url):
            self.report("external", url)

    def request_failed(self, request) -> None:
        """A file of the book that does not come is a fault."""
        aborted = "ERR_ABORTED" in (request.failure or "")
        if self.is_own(request.url) and not aborted:
            self.report("failed", f"{self.place(request.url)}: no answer")

    def answered(self, response) -> None:
        """So is one that the server does not have."""
        if response.status >= 400 and self.is_own(response.url):
            where = self.place(response.url)
            self.report("failed", f"{where}: {response.status}")

    def said(self, message) -> None:
        """An error in the console; a failed request is reported already."""
        failed = message.text.startswith("Failed to load resource")
        if message.type == "error" and not failed:
            self.report("console", message.text)

    def place(self, url: str) -> str:
        """The file of the book that an address names."""
        return unquote(url.removeprefix(self.base)).partition("?")[0]

    def ask(self, question: str, *arguments: Any) -> Any:
        """Ask the page one of the questions in audit.js."""
        return self.tab.evaluate(
            f"(given) => Audit.{question}(...given)", list(arguments)
        )

    def visit(self) -> None:
        """Open the page and look at it."""
        self.tab.goto(self.base + self.page)
        self.ask("settled")
        facts = self.ask("facts")
        place = f"{self.page} [{self.mode}]"
        self.findings.shifts[place] = facts["shift"]
        for formula in facts["rawFormulas"] + facts["badFormulas"]:
            self.report("math", formula)
        if self.pictures:
            file = f"{self.page.replace('/', '-')[:-5]}.{self.mode}.png"
            self.tab.screenshot(path=self.pictures / file, full_page=True)
        if self.mode == "light":
            self.look_closer(facts)
        self.ask("open")
        for fault in self.ask("overflow"):
            self.report("overflow", fault)
        self.ask("thin")
        self.tab.evaluate(self.axe)
        self.run_axe(AXE_OPTIONS[self.mode])
        if self.mode == "phone":
            self.open_drawers()

    def look_closer(self, facts: dict) -> None:
        """What is the same in every mode is looked at once."""
        places = {self.place(url) for url in facts["resources"]}
        own = {place for place in places if (self.root / place).is_file()}
        total = weight(self.root, own | {self.page})
        self.findings.weights[self.page] = total
        if total > BUDGET:
            self.report("weight", f"{total / 1024:.0f} KiB compressed")
        for code in facts["uncopied"]:
            self.report("copy", f"no button: {code}")
        for code in facts["marks"]:
            self.report("copy", f"a line that is not code: {code}")
        if facts["cells"] and not facts["notebooks"]:
            self.report("download", "cells, and no notebook to download")
        self.try_keys()

    def try_keys(self) -> None:
        """Open what opens, by keyboard."""
        for index, switch in enumerate(self.ask("switches")):
            if not switch["stop"]:
                self.report("keyboard", f"not reached: {switch['what']}")
                continue
            before = self.ask("state", index)
            self.tab.focus(f'[data-audit="{index}"]')
            self.tab.keyboard.press("Enter")
            try:
                self.tab.wait_for_function(
                    "([index, before]) => Audit.state(index) !== before",
                    arg=[index, before],
                    timeout=3000,
                )
            except Error:
                self.report("keyboard", f"does nothing: {switch['what']}")

    def run_axe(self, options: dict, within: str | None = None) -> None:
        """Report what axe finds."""
        for fault in self.ask("runAxe", options, within):
            self.report("axe", fault)

    def open_drawers(self) -> None:
        """On a phone the sidebars are drawers behind buttons."""
        for side in ("primary", "secondary"):
            drawer = self.tab.locator(f"#pst-{side}-sidebar-modal")
            button = self.tab.locator(f"button.{side}-toggle").first
            if drawer.count() and button.count() and button.is_visible():
                button.click()
                drawer.wait_for(state="visible")
                self.run_axe({}, f"#pst-{side}-sidebar-modal")
                self.tab.keyboard.press("Escape")

    def search(self) -> None:
        """Search for every term of the glossary."""
        terms = glossary_terms(self.root)
        address = f"{self.base}search.html"
        self.tab.goto(f"{address}?q={terms[0]}")
        try:
            self.tab.wait_for_function(
                "() => typeof Search === 'object' && Search.hasIndex()",
                timeout=20_000,
            )
        except Error:
            self.report("search", "the index does not load")
            return
        unfound = self.ask("unfound", terms)
        for term in unfound:
            self.report("search", f"{term!r} finds nothing")
        if found := [term for term in terms if term not in unfound]:
            self.tab.goto(f"{address}?q={found[0]}")
            self.tab.wait_for_selector("#search-results li")


def glossary_terms(root: Path) -> list[str]:
    """The terms that the glossary explains; a word, if there is none."""
    text = "".join(
        path.read_text("utf-8") for path in root.rglob("glossary.html")
    )
    terms = re.findall(r'<dt id="term-[^"]*">(.*?)<', text)
    return terms or ["the book"]


def summary(findings: Findings, seconds: float) -> str:
    """The last lines of an audit."""
    lines = [
        f"{kind:9} {page} [{', '.join(modes)}] {what}"
        for (kind, page, what), modes in sorted(findings.faults.items())
    ]
    heaviest = max(findings.weights, key=findings.weights.__getitem__)
    jumpiest = max(findings.shifts, key=findings.shifts.__getitem__)
    counts = Counter(kind for kind, _, _ in findings.faults)
    told = ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
    return "\n".join(
        [
            *lines,
            f"{len(findings.weights)} pages in {', '.join(MODES)}, "
            f"{seconds:.0f} seconds",
            f"heaviest page: {findings.weights[heaviest] / 1024:.0f} KiB of "
            f"{BUDGET // 1024}, {heaviest}",
            f"largest layout shift: {findings.shifts[jumpiest]:.3f}, {jumpiest}",
            f"found wrong: {told}" if told else "nothing found wrong",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Audit a built book; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bookkit.audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("html", type=Path, help="such as _build/html")
    parser.add_argument(
        "--pictures", type=Path, help="a folder for pictures of all pages"
    )
    chosen = parser.parse_args(arguments)
    if chosen.pictures:
        chosen.pictures.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    try:
        findings = audit(chosen.html, chosen.pictures)
    except FileNotFoundError as error:
        sys.exit(f"audit: {error}")
    print(summary(findings, time.monotonic() - start))
    return 1 if findings.faults else 0


if __name__ == "__main__":
    sys.exit(main())
