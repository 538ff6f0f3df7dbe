"""Audit the built book the way a reader meets it: offline, in a browser.

    python -m bookkit.audit _build/html [--json report.json]

Serves the folder on 127.0.0.1 and visits every page in headless Chromium: in
a light desktop window, in a dark one (there from file://, as an unpacked
download is read) and on a 390 px phone. It looks for:

  external   any request to another host (none is let through)
  console    console errors and uncaught exceptions
  failed     requests that fail or answer 400 and above
  axe        axe-core's violations, with all collapsed content opened, and
             text in the colour of its background
  overflow   sideways scrolling, content that is cut off or out of sight
  math       formulas left unrendered
  alt        images without alternative text, or with a file name as one
  links      internal links, anchors and assets that do not exist
  keyboard   toggles and copy buttons that cannot be focused or do nothing
  copy       code blocks without a copy button
  download   notebook pages without their notebook
  search     a search that finds nothing
  weight     pages over their budget, without pictures, figures and data
  shift      a layout that moves while the page loads

Exit status: 0 nothing found, 1 something found, 2 cannot run.
"""

import argparse
import collections
import functools
import gzip
import html.parser
import http.server
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

MODES = {
    # The first mode listed on the command line also weighs the pages and tries the keyboard.
    "light": dict(
        color_scheme="light",
        reduced_motion="reduce",
        viewport={"width": 1280, "height": 900},
    ),
    "dark": dict(
        color_scheme="dark",
        reduced_motion="reduce",
        viewport={"width": 1280, "height": 900},
    ),
    "phone": dict(
        color_scheme="light",
        reduced_motion="reduce",
        viewport={"width": 390, "height": 844},
        is_mobile=True,
        has_touch=True,
    ),
}
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--no-pings",
    "--renderer-process-limit=1",
    # No name resolves: the book must read without a network, and nothing leaves here.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
BROWSERS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
)  # lightest first
INSTALL = """Install what is missing (PyPI and Debian only):
    pip install playwright axe-playwright-python
    apt-get update && apt-get install -y chromium-headless-shell     (or chromium)
(no `playwright install`: the Debian browser is used; --chromium and --axe name others)"""


def die(message: str) -> None:
    print(f"audit: {message}\n{INSTALL}", file=sys.stderr)
    raise SystemExit(2)


# --------------------------------------------------------------------------- static part


class Page(html.parser.HTMLParser):
    """What can be known of one page without a browser."""

    VOID_REL = {
        "canonical",
        "next",
        "prev",
        "index",
        "search",
        "author",
        "license",
        "alternate",
    }

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.ids: collections.Counter[str] = collections.Counter()
        self.names: set[str] = set()
        self.links: list[str] = []  # <a href>
        self.assets: list[str] = []  # what the browser loads
        self.images: list[tuple[str, str | None]] = []
        self.redirect: str | None = None
        self.inline_js: list[str] = []
        self.style: list[str] = []
        self._in: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if a.get("id"):
            self.ids[a["id"]] += 1
        if tag == "a":
            if a.get("name"):
                self.names.add(a["name"])
            if a.get("href"):
                self.links.append(a["href"])
        elif tag == "link" and a.get("href"):
            if not set((a.get("rel") or "").lower().split()) & self.VOID_REL:
                self.assets.append(a["href"])
            else:
                self.links.append(a["href"])
        elif tag == "script":
            if a.get("src"):
                self.assets.append(a["src"])
            self._in = "script"
        elif tag == "style":
            self._in = "style"
        elif tag == "img":
            if a.get("src"):
                self.assets.append(a["src"])
            self.images.append(
                (a.get("src") or "", a.get("alt") if "alt" in a else None)
            )
        elif tag in {
            "iframe",
            "audio",
            "video",
            "source",
            "embed",
            "track",
        } and a.get("src"):
            self.assets.append(a["src"])
        elif tag == "object" and a.get("data"):
            self.assets.append(a["data"])
        elif (
            tag == "meta" and (a.get("http-equiv") or "").lower() == "refresh"
        ):
            m = re.search(r"url=(.+)", a.get("content") or "", re.I)
            self.redirect = m.group(1).strip("'\" ") if m else None
        for part in (a.get("srcset") or "").split(","):
            if part.strip():
                self.assets.append(part.split()[0])
        if a.get("style"):
            self.style.append(a["style"])

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag):
        if tag in {"script", "style"}:
            self._in = None

    def handle_data(self, data):
        if self._in == "script":
            self.inline_js.append(data)
        elif self._in == "style":
            self.style.append(data)


EXTERNAL = re.compile(r"^(?:https?:|wss?:)?//", re.I)
CSS_URL = re.compile(
    r"""(?:url\(\s*|@import\s+)['"]?((?:https?:)?//[^'")\s;]+)""", re.I
)
BAD_ALT = re.compile(
    r"(\.(png|svg|jpe?g|gif|webp|avif)$)|(^[0-9a-f]{16,}$)|(^_images/)", re.I
)


def static_audit(root: Path, names: list[str], add) -> dict[str, Page]:
    pages = {}
    for name in names:
        pages[name] = Page((root / name).read_text("utf-8", "replace"))
    targets: dict[str, set[str]] = {
        n: set(p.ids) | p.names for n, p in pages.items()
    }
    outside = []
    for name, page in pages.items():
        base = "http://book/" + name
        for kind, urls in (("link", page.links), ("asset", page.assets)):
            for url in dict.fromkeys(urls):
                if EXTERNAL.match(url):
                    if kind == "asset":
                        add("external", name, "html", url)
                    continue
                if re.match(
                    r"^[a-z][a-z0-9+.-]*:", url, re.I
                ):  # data:, mailto:, javascript:
                    continue
                where = urlsplit(urljoin(base, url))
                path = unquote(where.path).lstrip("/")
                if where.path.endswith("/") or not path:
                    path += "index.html"
                if url.startswith("/"):
                    outside.append(url)
                if not (root / path).is_file():
                    add("links", name, "html", f"{kind} {url!r}: no such file")
                elif where.fragment and path in targets:
                    fragment = unquote(where.fragment)
                    if fragment not in targets[path] and fragment not in {
                        "top",
                        "",
                    }:
                        add(
                            "links",
                            name,
                            "html",
                            f"{kind} {url!r}: no such anchor",
                        )
        for ident, count in page.ids.items():
            if count > 1:
                add(
                    "links", name, "html", f"id {ident!r} occurs {count} times"
                )
        for src, alt in page.images:
            if alt is None:
                add("alt", name, "html", f"{src}: no alt attribute")
            elif BAD_ALT.search(alt.strip()):
                add(
                    "alt",
                    name,
                    "html",
                    f"{src}: alt text is a file name ({alt})",
                )
        for css in page.style:
            for url in CSS_URL.findall(css):
                add("external", name, "css", url)
        if page.redirect and not EXTERNAL.match(page.redirect):
            if not (root / Path(name).parent / page.redirect).is_file():
                add(
                    "links",
                    name,
                    "html",
                    f"redirect to {page.redirect!r}: no such file",
                )
    for css in root.rglob("*.css"):
        for url in CSS_URL.findall(css.read_text("utf-8", "replace")):
            add("external", css.relative_to(root).as_posix(), "css", url)
    return pages


# -------------------------------------------------------------------------- browser part

SETTLE = """async () => {
  const wait = (ms) => new Promise((r) => setTimeout(r, ms));
  const ready = (async () => {
    await document.fonts.ready;
    const mj = window.MathJax;
    if (mj && mj.startup && mj.startup.promise) await mj.startup.promise;
    await new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
  })();
  await Promise.race([ready, wait(30000)]);
  let shift = 0;
  const watch = new PerformanceObserver((list) => {
    for (const e of list.getEntries()) if (!e.hadRecentInput) shift += e.value;
  });
  watch.observe({ type: 'layout-shift', buffered: true });
  await wait(60);
  const nav = performance.getEntriesByType('navigation')[0] || {};
  const seen = new Map();
  for (const e of performance.getEntriesByType('resource')) seen.set(e.name, e.encodedBodySize);
  return {
    shift, settled: Math.round(performance.now()),
    load: Math.round(nav.loadEventEnd || 0),
    html: nav.encodedBodySize || 0,
    resources: [...seen],
    nodes: document.getElementsByTagName('*').length,
    unrendered: [...document.querySelectorAll('.math')]
      .filter((e) => !e.querySelector('mjx-container, .katex, math, svg, img, .MathJax, .math'))
      .filter((e) => e.textContent.trim()).map((e) => e.textContent.trim().slice(0, 60)),
    mathErrors: [...document.querySelectorAll('mjx-merror, .katex-error, [data-mjx-error]')]
      .map((e) => e.textContent.trim().slice(0, 80)),
    uncopied: [...document.querySelectorAll('article div.highlight > pre')]
      .filter((e) => !e.closest('.cell_output, .output') && !e.closest('.no-copybutton'))
      .filter((e) => !e.parentElement.querySelector('button.copybtn')).length,
    codeBlocks: document.querySelectorAll('article div.highlight > pre').length,
    cells: document.querySelectorAll('article div.cell').length,
    ipynb: [...document.querySelectorAll('a[href$=".ipynb"]')].map((e) => e.getAttribute('href')),
  };
}"""

OPEN_ALL = """async () => {
  const still = document.createElement('style');  // colours are judged at rest, not half faded in
  still.textContent = '*, *::before, *::after { transition: none !important; animation: none !important; }';
  document.head.append(still);
  document.querySelectorAll('details').forEach((d) => { d.open = true; });
  document.querySelectorAll('.toggle-hidden').forEach((t) => {
    const b = t.querySelector('button.toggle-button'); if (b) b.click();
  });
  await new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
}"""

# Judging every code token and every part of a formula takes most of axe's time. Of each kind, in
# each kind of surrounding, three stay for axe to see; the others become plain text (--full: all stay).
THIN = """() => {
  const seen = new Map();
  const thin = (selector, shrink) => {
    for (const e of document.querySelectorAll(selector)) {
      const box = e.closest('.cell_output, .output, .admonition, .sd-card, .sd-tab-content, details, aside, td');
      const key = e.className + '|' + (box ? box.className : '');
      seen.set(key, (seen.get(key) || 0) + 1);
      if (seen.get(key) > 3) shrink(e);
    }
  };
  thin('.katex', (e) => e.replaceChildren('x'));
  thin('mjx-container', (e) => e.replaceWith('x'));
  thin('div.highlight pre span[class]', (e) => { if (!e.children.length) e.replaceWith(e.textContent); });
}"""

OVERFLOW = """() => {
  const vw = document.documentElement.clientWidth;
  const out = { by: document.scrollingElement.scrollWidth - vw, cut: [], clipped: [], backwards: [] };
  const describe = (e) => e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') +
    [...e.classList].slice(0, 3).map((c) => '.' + c).join('');
  const held = (e) => {
    for (let p = e; p && p !== document.body; p = p.parentElement) {
      const o = getComputedStyle(p).overflowX;
      if ((o === 'auto' || o === 'scroll') && p.scrollWidth > p.clientWidth) return true;
      if (p !== e && o === 'hidden' && p.getBoundingClientRect().right <= vw + 1) return true;
    }
    return false;
  };
  for (const e of document.querySelectorAll('article *')) {
    if (e.clientWidth <= 2 || e.scrollWidth <= e.clientWidth + 2 || e.closest('.visually-hidden')) continue;
    if (e.parentElement.closest('.katex, mjx-container, svg')) continue;
    const o = getComputedStyle(e).overflowX;
    const more = `${describe(e)} ${e.scrollWidth} in ${e.clientWidth} px: ${e.textContent.trim().slice(0, 30)}`;
    if (o === 'hidden' || o === 'clip') out.clipped.push(more);
    else if (o === 'auto' || o === 'scroll') {
      const was = e.scrollLeft;
      e.scrollLeft = -1e6;  // below zero only where the content runs over the left edge
      if (e.scrollLeft < 0) out.backwards.push(more);
      e.scrollLeft = was;
    }
  }
  for (const e of document.querySelectorAll('article *, .bd-content *')) {
    const r = e.getBoundingClientRect();
    if (r.width && r.height && r.right > vw + 1 && !held(e)) {
      const s = getComputedStyle(e);
      if (s.visibility === 'hidden' || s.position === 'fixed') continue;
      if (e.closest('mjx-assistive-mml, .katex-mathml, svg, .visually-hidden')) continue;
      out.cut.push(describe(e) + ' +' + Math.round(r.right - vw) + 'px');
      if (out.cut.length >= 5) break;
    }
  }
  return out;
}"""

AXE = """async (options) => {
  const r = await axe.run(document, options);
  return {
    violations: r.violations.map((v) => ({
      id: v.id, impact: v.impact, help: v.help, url: v.helpUrl, count: v.nodes.length,
      nodes: v.nodes.slice(0, 40).map((n) => ({
        target: n.target.flat().join(' '),
        html: n.html.slice(0, 200),
        why: [...n.any, ...n.all, ...n.none].map((c) => c.message).slice(0, 2).join(' | ').slice(0, 260),
      })),
    })),
    // Text in the very colour of its background: axe leaves it to a person (equalRatio). It is a fault.
    invisible: r.incomplete.filter((v) => v.id === 'color-contrast').flatMap((v) => v.nodes)
      .filter((n) => n.any.some((c) => c.data && c.data.messageKey === 'equalRatio'))
      .map((n) => ({ target: n.target.flat().join(' '), html: n.html.slice(0, 200),
        why: `text and background are both ${n.any[0].data.fgColor}` })),
    undecided: r.incomplete.flatMap((v) => v.nodes.map((n) =>
      v.id + ':' + ((n.any[0] && n.any[0].data && n.any[0].data.messageKey) || '?')))
      .reduce((sum, k) => ({ ...sum, [k]: (sum[k] || 0) + 1 }), {}),
  };
}"""

# Widgets a reader opens by keyboard: [selector, name]. State is read before and after.
KEYBOARD = """() => {
  const visible = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== 'hidden';
  const list = [];
  const take = (selector, kind, max) => {
    let n = 0;
    for (const e of document.querySelectorAll(selector)) {
      if (!visible(e) || n++ >= max) continue;
      e.setAttribute('data-audit-key', list.length);
      list.push([kind, e.tabIndex, (e.outerHTML || '').slice(0, 120)]);
    }
  };
  take('article summary', 'summary', 4);
  take('article button.toggle-button', 'toggle', 4);
  take('article button.copybtn', 'copy', 1);
  take('article [role=tab][aria-selected=false]', 'tab', 2);
  return list;
}"""
KEY_STATE = """(i) => {
  const e = document.querySelector(`[data-audit-key="${i}"]`);
  if (e.tagName === 'SUMMARY') return String(e.parentElement.open);
  return ['aria-expanded', 'aria-selected', 'class', 'data-tooltip'].map((a) => e.getAttribute(a)).join('|');
}"""


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".wasm": "application/wasm",
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".onnx": "application/octet-stream",
        ".woff2": "font/woff2",
    }

    def end_headers(self):
        self.send_header(
            "Cache-Control", "max-age=3600"
        )  # shared files are read once a mode
        super().end_headers()

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(
        self, request, client_address
    ):  # a closed tab is no error
        pass


@functools.lru_cache(None)
def gzip_size(path: Path) -> int:
    data = path.read_bytes()
    if path.suffix.lower() in {
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".webp",
        ".woff",
        ".woff2",
        ".gz",
    }:
        return len(data)
    return len(gzip.compress(data, 6))


def find_axe(given: str | None) -> Path | None:
    if given:
        return Path(given) if Path(given).is_file() else None
    found = []
    for module in ("axe_playwright_python", "axe_core_python"):
        spec = importlib.util.find_spec(module)
        for place in (spec.submodule_search_locations or []) if spec else []:
            found.append(Path(place) / "axe.min.js")
    for parent in [
        Path.cwd(),
        *Path.cwd().parents,
        *Path(__file__).resolve().parents,
    ]:
        found.append(parent / "node_modules/axe-core/axe.min.js")
    return next((p for p in found if p.is_file()), None)


class Visit:
    """One tab in one mode: gathers what the browser reports about the page being visited."""

    def __init__(self, context, origin: str, mode: str, add, skip_external):
        self.tab, self.mode, self.origin = context.new_page(), mode, origin
        self.name, self.add, self.skip_external = "", add, skip_external
        self.tab.set_default_timeout(
            90000
        )  # a bound for starved machines, never waited out
        self.tab.on("request", self.request)
        self.tab.on("websocket", lambda w: self.external(w.url))
        self.tab.on("requestfailed", self.failed)
        self.tab.on("response", self.response)
        self.tab.on("console", self.console)
        self.tab.on(
            "pageerror",
            lambda e: self.add("console", self.name, self.mode, str(e)[:300]),
        )

    def local(self, url: str) -> bool:
        return url.startswith(
            (self.origin, "data:", "blob:", "about:", "chrome-error:")
        )

    def external(self, url: str) -> None:
        if not self.skip_external(url):
            self.add("external", self.name, self.mode, url)

    def request(self, r) -> None:
        if not self.local(r.url):
            self.external(r.url)

    def failed(self, r) -> None:
        if self.local(r.url) and "ERR_ABORTED" not in (r.failure or ""):
            self.add("failed", self.name, self.mode, f"{r.url} {r.failure}")

    def response(self, r) -> None:
        if r.status >= 400 and self.local(r.url):
            self.add("failed", self.name, self.mode, f"{r.url} {r.status}")

    def console(self, m) -> None:
        if m.type != "error":
            return
        where = (m.location or {}).get("url") or ""
        if m.text.startswith("Failed to load resource") or (
            where and not self.local(where)
        ):
            return  # counted as an external or a failed request already
        self.add("console", self.name, self.mode, m.text[:300])

    def go(self, name: str, url: str):
        self.name = name
        self.tab.goto(url, wait_until="load")
        return self.tab.evaluate(SETTLE)


def browser_audit(root, names, args, axe_path, add):
    from playwright.sync_api import sync_playwright

    server = Server(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(root))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_address[1]}/"
    axe_source = axe_path.read_text("utf-8")
    allowed = [re.compile(a) for a in args.allow_external]
    skip_external = lambda url: any(a.search(url) for a in allowed)  # noqa: E731
    facts: dict[str, dict] = {n: {} for n in names}
    version = ""

    with (
        sync_playwright() as pw,
        tempfile.TemporaryDirectory(prefix="audit-") as profile,
    ):
        try:
            browser = pw.chromium.launch(
                executable_path=args.chromium,
                args=CHROMIUM_ARGS,
                headless=True,
                env={
                    **os.environ,
                    "HOME": profile,
                    "XDG_CONFIG_HOME": profile,
                    "XDG_CACHE_HOME": profile,
                },
            )
        except Exception as error:  # noqa: BLE001
            die(f"Chromium does not start ({str(error).splitlines()[0]})")
        version = browser.version
        for mode in args.modes:
            context = browser.new_context(
                service_workers="block", **MODES[mode]
            )
            # The dark pages are read from disk, as an unpacked download is; the others from a server.
            first = mode == args.modes[0]
            base = (
                root.as_uri() + "/"
                if mode == "dark" and args.file and not first
                else origin
            )
            mode += "+file" if base != origin else ""
            visit = Visit(context, base, mode, add, skip_external)
            for name in names:
                try:
                    fact = visit.go(name, base + name)
                except Exception as error:  # noqa: BLE001
                    add(
                        "failed",
                        name,
                        mode,
                        f"page does not load: {str(error).splitlines()[0]}",
                    )
                    continue
                if first:
                    page_facts(
                        root, origin, name, fact, facts[name], args, add
                    )
                facts[name].setdefault("load_ms", {})[mode] = fact["settled"]
                for text in fact["unrendered"][:5]:
                    add("math", name, mode, f"not rendered: {text}")
                for text in fact["mathErrors"][:5]:
                    add("math", name, mode, f"formula error: {text}")
                if args.screenshots:
                    shot = (
                        args.screenshots
                        / f"{name.replace('/', '_')[:-5]}.{mode}.png"
                    )
                    visit.tab.screenshot(path=str(shot), full_page=True)
                try:
                    if first:
                        keyboard(visit, name, mode, add)
                    visit.tab.evaluate(OPEN_ALL)
                    overflow(visit, name, mode, add)
                    if not args.full:
                        visit.tab.evaluate(THIN)
                    run_axe(visit, axe_source, name, mode, args, add, facts)
                    if mode == "phone" and name == names[0]:
                        phone_sidebar(
                            visit, axe_source, name, args, add, facts
                        )
                except Exception as error:  # noqa: BLE001
                    add(
                        "failed",
                        name,
                        mode,
                        f"audit step: {str(error).splitlines()[0]}",
                    )
            context.close()

        context = browser.new_context(
            service_workers="block", **MODES["light"]
        )
        visit = Visit(context, origin, "search", add, skip_external)
        search(root, visit, origin, args, add)
        browser.close()
    server.shutdown()
    return facts, version


PICTURES = (".svg", ".png", ".jpg", ".webp", ".gif", ".ipynb", ".md")
DRAWN = re.compile(
    r"<svg\b.*?</svg>|<script type=\"application/json\".*?</script>", re.S
)


def page_facts(root, origin, name, fact, out, args, add):
    """Weigh a page and what it loads, without pictures, figures and data."""
    text = DRAWN.sub("", (root / name).read_text("utf-8"))
    total, zipped, parts = fact["html"], len(gzip.compress(text.encode())), []
    for url, size in fact["resources"]:
        path = root / unquote(urlsplit(url).path).lstrip("/")
        if not url.startswith(origin) or not path.is_file():
            continue
        total += size
        if (
            path.suffix in PICTURES
            or "/widgets/" in url
            and "data" in path.name
        ):
            continue
        zipped += gzip_size(path)
        parts.append((size, path.relative_to(root).as_posix()))
    if fact["shift"] > args.max_shift:
        add("shift", name, "light", f"the layout moves by {fact['shift']:.3f}")
    out.update(
        bytes=total,
        gzip=zipped,
        html=fact["html"],
        requests=len(fact["resources"]) + 1,
        shift=fact["shift"],
        nodes=fact["nodes"],
        code_blocks=fact["codeBlocks"],
        load_event_ms=fact["load"],
        heaviest=[
            f"{n} {s // 1024} KiB" for s, n in sorted(parts, reverse=True)[:5]
        ],
    )
    if zipped > args.max_kb * 1024:
        add(
            "weight",
            name,
            "light",
            f"{zipped // 1024} KiB gzipped > {args.max_kb} KiB",
        )
    if fact["uncopied"]:
        add(
            "copy",
            name,
            "light",
            f"{fact['uncopied']} code block(s) without a copy button",
        )
    if fact["cells"] and not args.no_download and not fact["ipynb"]:
        add(
            "download",
            name,
            "light",
            "a page with code cells offers no .ipynb download",
        )


def overflow(visit, name, mode, add):
    found = visit.tab.evaluate(OVERFLOW)
    if found["by"] > 1:
        add(
            "overflow",
            name,
            mode,
            f"page scrolls sideways by {found['by']} px {found['cut'][:3]}",
        )
    elif found["cut"]:
        add(
            "overflow",
            name,
            mode,
            f"cut off at the right edge: {found['cut'][:3]}",
        )
    for text in found["clipped"][:5]:
        add("overflow", name, mode, f"clipped, and cannot be scrolled: {text}")
    for text in found["backwards"][:5]:
        add("overflow", name, mode, f"begins out of sight on the left: {text}")


def run_axe(visit, source, name, mode, args, add, facts, note=""):
    if not visit.tab.evaluate("() => typeof axe !== 'undefined'"):
        visit.tab.evaluate(source)
    # preload: axe would fetch every style sheet again and take an @import for a page-relative one
    options = {"resultTypes": ["violations", "incomplete"], "preload": False}
    colours = ["color-contrast", "link-in-text-block"]
    if (
        mode.startswith("dark") and not args.full
    ):  # structure was judged in the light mode,
        options["runOnly"] = {"type": "rule", "values": colours}
    elif (
        mode == "phone" and not note and not args.full
    ):  # and so were the phone's colours
        options["rules"] = {c: {"enabled": False} for c in colours}
    result = visit.tab.evaluate(AXE, options)
    hidden = {
        "id": "color-contrast",
        "impact": "serious",
        "url": "",
        "nodes": result["invisible"],
    }
    for v in [*result["violations"], hidden]:
        for node in v["nodes"]:
            if any(
                r == v["id"] and (not s or s in node["target"] + node["html"])
                for r, s in args.allow_axe
            ):
                continue
            add(
                "axe",
                name,
                mode + note,
                f"{v['id']} [{v['impact']}] {node['target']}: {node['why']}",
                rule=v["id"],
                impact=v["impact"],
                html=node["html"],
                help=v["url"],
            )
    facts[name].setdefault("axe_undecided", {})[mode + note] = result[
        "undecided"
    ]


def keyboard(visit, name, mode, add):
    tab = visit.tab
    for i, (kind, tab_index, source) in enumerate(tab.evaluate(KEYBOARD)):
        if tab_index < 0:
            add("keyboard", name, mode, f"{kind} cannot be focused: {source}")
            continue
        before = tab.evaluate(KEY_STATE, i)
        tab.focus(f'[data-audit-key="{i}"]')
        tab.keyboard.press("Enter")
        for pause in (20, 50, 200, 1000):
            tab.wait_for_timeout(pause)
            if tab.evaluate(KEY_STATE, i) != before:
                break
        else:
            add(
                "keyboard",
                name,
                mode,
                f"{kind} does not react to Enter: {source}",
            )


def phone_sidebar(visit, source, name, args, add, facts):
    """Open the navigation drawer as a phone reader would, and look at it too."""
    button = visit.tab.locator("button.primary-toggle").first
    if button.count() and button.is_visible():
        button.click()
        visit.tab.wait_for_timeout(500)
        run_axe(visit, source, name, "phone", args, add, facts, note="+menu")


def search(root, visit, origin, args, add):
    if not (root / "search.html").is_file():
        add("search", "search.html", "search", "no search page")
        return
    term = args.search_term
    if not term:
        index = root / "searchindex.js"
        titles = (
            re.search(
                r'"?titles"?:\s*\[(.*?)\]', index.read_text("utf-8", "replace")
            )
            if index.is_file()
            else None
        )
        words = re.findall(r"[A-Za-z]{5,}", titles.group(1) if titles else "")
        term = words[0] if words else "the"
    for mode, base in (
        ("search", origin),
        ("search+file", root.as_uri() + "/"),
    )[: 2 if args.file else 1]:
        visit.origin, visit.mode = base, mode
        try:
            visit.go("search.html", f"{base}search.html?q={term}")
            visit.tab.wait_for_function(
                "() => document.querySelectorAll('#search-results li, ul.search li').length > 0",
                timeout=30000,
            )
            visit.tab.wait_for_load_state("networkidle")
            visit.tab.wait_for_timeout(300)
        except Exception:  # noqa: BLE001
            add(
                "search",
                "search.html",
                mode,
                f"searching {term!r} finds nothing",
            )


# ------------------------------------------------------------------------------ reporting


def report(args, names, facts, found, seconds, axe_path, version):
    by_kind = collections.Counter(f["kind"] for f in found)
    rules: dict[str, dict] = {}
    for f in found:
        if f["kind"] == "axe":
            r = rules.setdefault(
                f["rule"],
                {
                    "impact": f["impact"],
                    "nodes": 0,
                    "pages": set(),
                    "modes": set(),
                },
            )
            r["nodes"] += 1
            r["pages"].add(f["page"])
            r["modes"].add(f["mode"])
    rules = {
        k: {**v, "pages": len(v["pages"]), "modes": sorted(v["modes"])}
        for k, v in sorted(rules.items())
    }
    kib = [facts[n].get("gzip", 0) / 1024 for n in names if facts[n]]
    raw = [facts[n].get("bytes", 0) / 1024 for n in names if facts[n]]
    times = [t for n in names for t in facts[n].get("load_ms", {}).values()]
    summary = {
        "ok": not found,
        "pages": len(names),
        "modes": args.modes,
        "seconds": round(seconds, 1),
        "chromium": version,
        "axe": re.search(r"v([\d.]+)", axe_path.read_text("utf-8")[:60]).group(
            1
        ),
        "problems": dict(by_kind),
        "external_hosts": sorted(
            {
                urlsplit(f["detail"]).netloc
                for f in found
                if f["kind"] == "external"
            }
        ),
        "axe_rules": rules,
        "page_kib_gzip": {
            "max": round(max(kib, default=0)),
            "median": round(sorted(kib)[len(kib) // 2]) if kib else 0,
        },
        "page_kib_raw": {
            "max": round(max(raw, default=0)),
            "median": round(sorted(raw)[len(raw) // 2]) if raw else 0,
        },
        "largest_shift": round(
            max((facts[n].get("shift", 0) for n in names), default=0), 4
        ),
        "settled_ms": {
            "max": max(times, default=0),
            "median": sorted(times)[len(times) // 2] if times else 0,
        },
    }
    full = {"summary": summary, "found": found, "facts": facts}
    if args.json == "-":
        print(json.dumps(full, indent=1))
        return
    if args.json:
        Path(args.json).write_text(json.dumps(full, indent=1) + "\n")
    shown: collections.Counter[str] = collections.Counter()
    merged: dict[tuple, list] = {}
    for f in found:
        merged.setdefault((f["kind"], f["page"], f["detail"]), []).append(
            f["mode"]
        )
    for (kind, page, detail), modes in merged.items():
        shown[kind] += 1
        if shown[kind] <= args.show:
            print(
                f"{kind:9} {page} [{','.join(dict.fromkeys(modes))}] {detail}"
            )
    for kind, count in shown.items():
        if count > args.show:
            print(
                f"{kind:9} ... and {count - args.show} more (--show or --json tells all)"
            )
    print(json.dumps(summary, indent=1))
    print(
        "PASS"
        if not found
        else f"FAIL: {sum(by_kind.values())} problem(s): "
        + ", ".join(f"{k} {v}" for k, v in by_kind.most_common())
    )


def rule(text: str) -> tuple[str, str]:
    name, _, part = text.partition("=")
    return name, part


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "html", type=Path, help="a built book, e.g. book/_build/html"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write the full report there (- for standard output only)",
    )
    parser.add_argument(
        "--screenshots",
        type=Path,
        metavar="DIR",
        help="save a picture of every page and mode",
    )
    parser.add_argument(
        "--modes", default="light,dark,phone", help="default: light,dark,phone"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="axe without short cuts: all rules in dark, every token of code",
    )
    parser.add_argument(
        "--no-file",
        dest="file",
        action="store_false",
        help="read the dark pages from the server too, not from file://",
    )
    parser.add_argument(
        "--no-download",
        action="store_true",
        help="do not ask for .ipynb downloads",
    )
    parser.add_argument(
        "--pages", default="*", help="only pages whose path matches this glob"
    )
    parser.add_argument(
        "--max-kb",
        type=int,
        default=300,
        help="KiB, compressed, of a page; default 300",
    )
    parser.add_argument(
        "--max-shift",
        type=float,
        default=0.1,
        help="largest layout shift; default 0.1",
    )
    parser.add_argument(
        "--search-term",
        help="word to search for; default: from the first title",
    )
    parser.add_argument(
        "--allow-axe",
        action="append",
        default=[],
        type=rule,
        metavar="RULE[=TEXT]",
        help="ignore this axe rule (where the node's selector or HTML contains TEXT)",
    )
    parser.add_argument(
        "--allow-external", action="append", default=[], metavar="REGEX"
    )
    parser.add_argument(
        "--show",
        type=int,
        default=12,
        help="problems printed per kind, default 12",
    )
    parser.add_argument(
        "--chromium",
        default=None,
        help="browser binary (default: chromium-headless-shell or chromium on PATH)",
    )
    parser.add_argument(
        "--axe",
        default=None,
        help="axe.min.js (default: from axe-playwright-python or node_modules)",
    )
    args = parser.parse_args()

    args.modes = [m for m in args.modes.split(",") if m]
    if not args.modes or not set(args.modes) <= set(MODES):
        parser.error(f"--modes: choose from {', '.join(MODES)}")
    root = args.html.resolve()
    if not root.is_dir():
        parser.error(f"{args.html} is not a directory: build the book first")
    if importlib.util.find_spec("playwright") is None:
        die("the Python package 'playwright' is missing")
    args.chromium = args.chromium or next(
        filter(None, map(shutil.which, BROWSERS)), None
    )
    if not args.chromium:
        die("no chromium-headless-shell or chromium on PATH")
    axe_path = find_axe(args.axe)
    if not axe_path:
        die("no axe.min.js found")
    if args.screenshots:
        args.screenshots.mkdir(parents=True, exist_ok=True)

    skip = re.compile(r"^(_static|_sources|_downloads|_images)/")
    everything = sorted(
        p.relative_to(root).as_posix() for p in root.rglob("*.html")
    )
    names = [n for n in everything if not skip.match(n)]
    if not names:
        parser.error(f"{args.html} holds no HTML page: build the book first")

    found: list[dict] = []
    once: set[tuple] = set()

    def add(kind, page, mode, detail, **more):
        key = (kind, page, mode, detail)
        if key not in once:
            once.add(key)
            found.append(
                {
                    "kind": kind,
                    "page": page,
                    "mode": mode,
                    "detail": detail,
                    **more,
                }
            )

    start = time.monotonic()
    pages = static_audit(root, names, add)
    visited = [
        n for n in names if not pages[n].redirect and Path(n).match(args.pages)
    ]
    facts, version = browser_audit(root, visited, args, axe_path, add)
    report(
        args,
        visited,
        facts,
        found,
        time.monotonic() - start,
        axe_path,
        version,
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
