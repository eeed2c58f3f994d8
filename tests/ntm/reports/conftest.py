"""A real browser for the tests of pages: Debian's chromium, without a network."""

import os
import shutil

import pytest

#: Where the browser is missing
MISSING = "no browser to test pages with: apt-get install chromium, and pip install playwright"


@pytest.fixture(scope="session")
def browser():
    """A browser without a window. CI fails where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open an address in a new window of some width; what goes wrong in the page fails the test."""
    contexts, problems = [], []

    def open_page(url, width=1200, color_scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=color_scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message) or dialog.dismiss())
        if url.startswith("file:"):
            context.set_offline(True)
            page.on(
                "request",
                lambda request: (
                    problems.append(request.url)
                    if not request.url.startswith(("file:", "data:", "blob:"))
                    else None
                ),
            )
        page.goto(url)
        page.wait_for_selector("main[data-drawn]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    # A server that a test has ended does not answer
    assert not [each for each in problems if "ERR_CONNECTION_REFUSED" not in each]
