"""A real browser for a test: the machine's Chromium, which reaches this machine and nothing else.

What a page says is waited for as a person would wait; what it logs as an error is kept, so that a test can look.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from tests.support.parts import executable

PAGE_TIMEOUT_SECONDS = 90.0
# A proxy that answers nothing shows that a page loads nothing from outside.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--proxy-server=127.0.0.1:9",
    "--proxy-bypass-list=127.0.0.1;localhost",
)


@contextmanager
def open_page() -> Iterator[Page]:
    """A page in a browser of its own.

    Raises:
        MissingPart: when this machine has no Chromium.
    """
    program = executable("chromium", "chromium-browser", "google-chrome", remedy="`make test-parts` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        try:
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.set_default_timeout(PAGE_TIMEOUT_SECONDS * 1000)
            yield page
        finally:
            browser.close()
