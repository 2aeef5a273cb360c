"""The page as it is sent, printed and read on a phone: in a real browser, without a network."""

import json
import re
import shutil

import numpy as np
import pytest
from tests.support.worlds import areas, run

from unseen.core.errors import StorageError
from unseen.distribution.compare import compare
from unseen.images.record_pictures import write_png
from unseen.pages import print_pdf, report, report_folder, single_file
from unseen.pages.single_file import inline

REAL = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.2}
A4 = (595, 842)  # points
PAPER = 718  # CSS pixels between the margins of A4


@pytest.fixture(scope="session")
def several(tmp_path_factory):
    """Three generated sides, one of which lacks cars and persons."""
    folder = tmp_path_factory.mktemp("several")
    real = areas(80, REAL, seed=0, name="photos")
    sides = [areas(80, REAL, seed=seed, name=f"generator {seed}") for seed in (1, 2)]
    sides.append(areas(80, REAL | {"car": 0.0, "person": 0.0}, seed=3, name="generator 3"))
    run(folder, real, sides)
    report_folder(folder)
    return folder


@pytest.fixture(scope="session")
def alone(both, tmp_path_factory):
    """The page as one file, and nothing beside it."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copy(report_folder(both, single_file=True), folder / "report.html")
    return folder


def unfolded(page, openers="button.opener"):
    """The page with all classes open, and all overlays seen once."""
    for clicked in (openers, *(f".overlay input[value={c}]" for c in ("class", "labels"))):
        page.locator(clicked).evaluate_all("elements => elements.forEach((e) => e.click())")
    return page


def test_one_file_shows_every_picture_without_its_folder_and_without_a_network(
    open_page, both, alone
):
    assert [path.name for path in alone.iterdir()] == ["report.html"]
    shown = "images => images.map((i) => [i.currentSrc || i.src, i.naturalWidth])"
    sizes = []
    for folder in (both, alone):
        page = unfolded(open_page(folder, offline=True))
        images = page.locator("img[src]")
        images.evaluate_all("images => images.forEach((i) => { i.loading = 'eager'; })")
        page.wait_for_function("() => [...document.images].every((i) => !i.src || i.complete)")
        found = images.evaluate_all(shown)
        assert len(found) > 30
        assert all(width > 0 for _, width in found)
        sizes.append([width for _, width in found])
    assert all(source.startswith("data:") for source, _ in found)
    assert sizes[0] == sizes[1]  # the same pictures in the same places, none of them shrunk


def test_one_file_holds_every_picture_once_and_names_no_file_beside_it(alone):
    html = (alone / "report.html").read_text()
    store = json.loads(re.search(r'id="inlined">(.*?)</script>', html)[1])
    held = [*store, *re.findall(r'data-path="([^"]+)"', html)]
    assert len(held) == len(set(held)) == html.count("data:image/") > 20
    assert 'href="comparison.json"' not in html
    assert 'src="pictures/' not in html


def test_pictures_shrink_until_the_file_is_small_enough(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for i in range(8):  # noise, which no format makes small
        write_png(tmp_path / f"{i}.png", rng.integers(0, 256, (3, 300, 300), np.uint8))
    page = "".join(f'<img src="{i}.png">' for i in range(8)) + "<script></script>"
    whole = len(inline(page, tmp_path))
    assert whole > 200_000
    for most in (whole // 2, whole // 8):
        monkeypatch.setattr(single_file, "MOST_BYTES", most)
        assert most / 4 < len(inline(page, tmp_path)) < most
    monkeypatch.setattr(single_file, "MOST_BYTES", 5_000)
    with pytest.warns(UserWarning, match="above 0.005"):
        inline(page, tmp_path)


def test_a_single_file_is_written_where_it_is_asked_for_and_kept_while_it_is_current(tmp_path):
    comparison = compare(areas(40, REAL, seed=0), [areas(40, REAL, seed=1)])
    assert report(tmp_path, comparison).name == "report.html"
    assert not (tmp_path / "report-single.html").exists()
    page = report(tmp_path, comparison, keep_current=True, single_file=True)
    page.write_text(page.read_text().replace("</body>", "<!-- mine --></body>"))
    assert report(tmp_path, comparison, keep_current=True, single_file=True) == page
    assert "<!-- mine -->" in page.read_text()


def test_on_paper_no_column_and_no_gallery_is_missing(open_page, several, both):
    for folder in (several, both):
        page = open_page(folder, viewport={"width": PAPER, "height": 900}, color_scheme="dark")
        page.emulate_media(media="print", color_scheme="dark")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        hidden = "cells => cells.filter((c) => !c.checkVisibility()).length"
        assert page.locator("main table.classes > thead th").evaluate_all(hidden) == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= PAPER
        assert page.evaluate("getComputedStyle(document.body).color") != "rgb(255, 255, 255)"
        assert page.locator(
            ".class:has(.row :is(.omitted, .under, .cannot-draw)) .detail"
        ).first.is_visible()
    rebuilt = page.locator(".case .frame.rebuilt img.first")  # of the gallery of persons
    assert rebuilt.count() > 0
    assert all(image.is_visible() for image in rebuilt.all())
    assert not page.locator(".toolbar").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("[aria-expanded=true]").count() == 0


def test_a_pdf_is_a4_with_every_table_and_picture(browser, both):
    pdfium = pytest.importorskip("pypdfium2")
    with pdfium.PdfDocument(print_pdf(both / "report.html")) as pdf:
        sizes = {tuple(round(side) for side in page.get_size()) for page in pdf}
        text = "\n".join(page.get_textpage().get_text_range() for page in pdf)
        pictures = sum(
            obj.type == pdfium.raw.FPDF_PAGEOBJ_IMAGE for page in pdf for obj in page.get_objects()
        )
        assert len(pdf) in range(4, 12)
    assert sizes == {A4}
    words = " ".join(text.split())
    for heading in ("Detectable loss", "Mean area", "Of controls", "Instances", "Lost"):
        assert heading in words
    assert pictures > 20


def test_without_a_browser_a_pdf_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StorageError, match=r"report\.html"):
        print_pdf(tmp_path / "report.html")


def test_axe_finds_no_serious_fault(open_page, several, both):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for folder in (several, both):
        page = open_page(folder, color_scheme="light")
        # the gravest class of every table: the others are made of the same parts
        unfolded(page, "thead + tbody .opener")
        assert page.locator("tr.detail:visible").count() == page.locator("table.classes").count()
        found = axe.run(page).response["violations"]
        page.emulate_media(color_scheme="dark")  # colours are all that differs
        found += axe.run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
        grave = [
            (fault["id"], node["target"], node.get("failureSummary"))
            for fault in found
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]
        assert grave == []


def test_on_a_phone_the_verdict_is_the_second_column(open_page, several, both):
    for folder in (several, both):
        page = open_page(folder, viewport={"width": 390, "height": 844})
        tables = page.locator("table.classes").all()
        for table in tables:
            cells = table.locator("tbody.class").first.locator(".row > *:visible")
            assert cells.nth(1).locator(".chip").count() == 1
            edge = cells.nth(1).bounding_box()
            assert edge["x"] + edge["width"] <= 390
        unfolded(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_warning_does_not_touch_the_section_before_it(open_page, both):
    gap = open_page(both).evaluate(
        """() => {
            const main = document.querySelector("main");
            const pair = '<section>pairs</section><aside class="caveats first">warning</aside>';
            main.insertAdjacentHTML("beforeend", pair);
            const [above, below] = [...main.children].slice(-2).map(e => e.getBoundingClientRect());
            return below.top - above.bottom;
        }"""
    )
    assert gap > 10  # pixels: sections stand 20 apart
