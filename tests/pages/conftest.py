"""A real browser, headless: from the file system, without a network."""

import shutil

import pytest
from tests.support.evidence_world import COLUMNS, evidence_world
from tests.support.worlds import areas, run

from unseen.pages import report_folder

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def browser():
    if not shutil.which(CHROMIUM):
        pytest.skip(f"no Chromium at {CHROMIUM}")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open a page; any console message, script error or request that fails fails the test."""
    complaints, requested, pages = [], [], []

    def opened(folder, where="", **options):
        page = browser.new_page(**options)
        pages.append(page)
        page.set_default_timeout(30_000)  # a machine may be busy
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.on("request", lambda request: requested.append(request.url))
        page.goto((folder / "report.html").as_uri() + where)
        return page

    yield opened
    for page in pages:
        page.close()
    assert complaints == []
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="session")
def both(tmp_path_factory):
    """A comparison and evidence of the same classes in one folder."""
    folder = tmp_path_factory.mktemp("both")
    classes = tuple(column.partition("/")[2] for column in COLUMNS)
    sides = [
        areas(60, {"person": share}, seed=seed, name=name, classes=classes)
        for seed, (name, share) in enumerate({"photos": 0.5, "fakes": 0.0}.items())
    ]
    run(folder, sides[0], sides[1:])
    evidence_world(folder)
    report_folder(folder)
    return folder
