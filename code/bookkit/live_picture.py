"""Take the landing page's pictures of the live page, light and dark.

    python -m bookkit.live_picture _build/html

They show the model that the pages were built with: take them again when
models/pocket-bert or the page has changed.
"""

import argparse
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from bookkit.audit import FLAGS, browser_path
from bookkit.tangle import ROOT

DONE = """() => {
  const widget = document.querySelector("live-bert");
  return !widget.button.disabled && !widget.results.hidden;
}"""
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
HEIGHT = 490  # pixels of the page: the question and the ranked words


def take(browser: Browser, page: Path, theme: Theme, target: Path) -> None:
    """Run the model on the page's own sentence and take its picture."""
    tab = browser.new_page(
        color_scheme=theme,
        viewport={"width": 1000, "height": 1200},
        reduced_motion="reduce",
        device_scale_factor=2,
    )
    tab.goto(page.as_uri())
    tab.locator("live-bert button[type=submit]").click()
    tab.wait_for_function(DONE, timeout=120_000)
    box = tab.locator("live-bert").bounding_box()
    assert box, "the widget is not shown"
    tab.screenshot(path=target, full_page=True, clip=box | {"height": HEIGHT})
    print(f"{target}: {target.stat().st_size / 1024:.0f} KiB")


def main() -> int:
    """Take both pictures."""
    parser = argparse.ArgumentParser(
        prog="python -m bookkit.live_picture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("html", type=Path, help="such as _build/html")
    page = parser.parse_args().html.resolve() / "book" / "live.html"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path(), args=FLAGS
        )
        for theme in THEMES:
            target = ROOT / "images" / f"live-{theme}.png"
            take(browser, page, theme, target)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
