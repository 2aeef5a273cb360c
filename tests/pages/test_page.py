"""The page in a real browser: headless Chromium, from the file system, without a network."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image
from tests.support.worlds import CLASSES, areas, run

from unseen.core.errors import RecordError
from unseen.core.wording import number
from unseen.distribution.compare import compare
from unseen.distribution.comparison import read_comparison
from unseen.distribution.gate import Gate
from unseen.pages import report
from unseen.pages.overlays import class_colour, tiled_overlay

REAL = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.2}
HOSTILE = "<script>document.title='owned'</script>\"'&"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One generated side that lacks persons."""
    folder = tmp_path_factory.mktemp("run")
    real = areas(200, REAL, seed=0, name="photos")
    report(folder, run(folder, real, [areas(200, REAL | {"person": 0.0}, seed=1, name="fakes")]))
    return folder


def names(page):
    return page.locator("tbody.class:visible .name").all_inner_texts()


def test_the_gravest_verdict_comes_first_and_headings_sort(open_page, folder):
    page = open_page(folder)
    assert names(page)[0] == "person"
    heading = page.get_by_role("columnheader", name="Mean area")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert names(page)[0] == "building"  # fills what others leave
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert names(page)[-1] == "building"
    page.get_by_role("columnheader", name="Class").get_by_role("button").click()
    assert names(page) == sorted(names(page))
    assert heading.get_attribute("aria-sort") == "none"


def test_verdicts_and_text_filter(open_page, folder):
    page = open_page(folder)
    everything = len(names(page))
    pressed = page.locator(".filter.omitted")
    pressed.click()
    assert pressed.get_attribute("aria-pressed") == "true"
    assert names(page) == ["person"]
    assert page.locator("output.count").inner_text() == f"1 of {everything} classes"
    page.get_by_role("searchbox").fill("sky")
    assert names(page) == []
    page.get_by_role("button", name="Show all classes").click()
    assert len(names(page)) == everything
    page.get_by_role("searchbox").fill("SK")
    assert names(page) == ["sky"]


def test_a_class_opens_with_its_pictures_and_overlays_switch(open_page, folder):
    page = open_page(folder)
    page.get_by_role("button", name="sky", exact=True).click()
    detail = page.locator("tr.detail:visible")
    assert detail.count() == 1
    pictures = detail.locator("figure .frame > img:first-child")
    assert pictures.count() == 8  # four on either side
    loaded = "image => image.complete && image.naturalWidth > 0"
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()  # they load when they are seen
        page.wait_for_function(loaded, arg=picture.element_handle())
    overlay = detail.locator(".tiles-over").first
    shown = "layer => getComputedStyle(layer).getPropertyValue('--tile')"
    assert not overlay.is_visible()
    detail.get_by_label("only sky").check()
    assert overlay.is_visible()
    page.wait_for_function(loaded, arg=overlay.element_handle())
    tile = overlay.evaluate(shown)
    assert int(tile) > 0
    detail.get_by_label("all labels").check()
    assert overlay.evaluate(shown) == "0"
    assert detail.locator(".legend").first.is_visible()
    detail.get_by_label("nothing").check()
    assert not overlay.is_visible()
    assert not detail.locator(".legend").first.is_visible()
    page.get_by_role("button", name="sky", exact=True).click()
    assert page.locator("tr.detail:visible").count() == 0


def test_everything_works_by_keyboard(open_page, folder):
    page = open_page(folder)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    opener = page.get_by_role("button", name="person", exact=True).last
    opener.focus()
    page.keyboard.press("Enter")
    assert opener.get_attribute("aria-expanded") == "true"
    page.locator("tr.detail:visible input[type=radio]").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("tr.detail:visible .tiles-over").first.is_visible()
    page.locator(".filter").first.focus()
    page.keyboard.press("Space")
    assert page.locator(".filter").first.get_attribute("aria-pressed") == "true"


def test_a_finding_leads_to_its_class(open_page, folder):
    page = open_page(folder)
    page.locator(".finding .link").first.click()
    assert page.locator("tr.detail:visible").count() == 1
    assert page.evaluate("document.activeElement.innerText").strip() == "person"


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_in_one_direction_only(open_page, folder, width):
    page = open_page(folder, viewport={"width": width, "height": 800})
    for opener in page.locator("button.opener").all():
        opener.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_mode_is_dark(open_page, folder):
    page = open_page(folder, color_scheme="dark")
    colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert max(int(part) for part in colour[4:-1].split(",")) < 64
    assert "dark" in page.locator(".plot img").first.evaluate("i => i.currentSrc")


def test_names_of_classes_sides_and_images_are_text(open_page, tmp_path):
    classes = (*CLASSES[:-1], HOSTILE)
    real = areas(40, {"sky": 0.7, HOSTILE: 0.9}, seed=0, name=HOSTILE, classes=classes)
    fakes = areas(40, {"sky": 0.7}, seed=1, name="'\"><img src=x>", classes=classes)
    report(tmp_path, run(tmp_path, real, [fakes]))
    page = open_page(tmp_path)
    assert "owned" not in page.title().split("·")[-1]
    assert page.title().startswith("'\"><img src=x> against <script>")
    assert HOSTILE in names(page)
    page.locator("button.opener", has_text="document.title").click()
    assert HOSTILE in page.locator("tr.detail:visible .file").first.inner_text()
    assert page.evaluate("[...document.scripts].length") == 2  # the data and the script
    assert page.locator("img[src=x]").count() == 0


def test_the_page_may_load_what_lies_beside_it_and_nothing_from_a_network(open_page, folder):
    page = open_page(folder)
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    sources = {part.split()[0]: part.split()[1:] for part in policy.split("; ")}
    assert sources["default-src"] == ["'none'"]
    assert set(sources["img-src"]) <= {"'self'", "file:", "data:"}
    for kind in ("script-src", "style-src"):
        assert all(source.startswith("'sha256-") for source in sources[kind])
    assert " style=" not in (folder / "report.html").read_text()


def test_several_generated_sides_have_a_column_each(open_page, tmp_path):
    real = areas(200, REAL, seed=0, name="photos")
    sides = [
        areas(200, REAL, seed=1, name="previous"),
        areas(200, REAL | {"car": 0.0}, seed=2, name="new"),
    ]
    report(tmp_path, run(tmp_path, real, sides))
    page = open_page(tmp_path)
    assert page.locator("table.summary").first.locator("thead th").all_inner_texts() == [
        "previous",
        "new",
    ]
    assert names(page)[0] == "car"  # omitted on one of the sides
    assert "regressed" in page.locator("table.changes").inner_text()
    assert page.locator("tr.sides th").all_inner_texts() == ["previous", "new", "Real"]


def test_pairs_show_what_became_of_the_real_images(open_page, tmp_path):
    real, fakes = (areas(20, REAL, seed=seed, name=str(seed)) for seed in (0, 1))
    named = [f"church_{i}.png" for i in range(20)]
    sides = [dataclasses.replace(side, names=named) for side in (real, fakes)]
    comparison = run(tmp_path, sides[0], sides[1:])
    report(tmp_path, comparison)
    page = open_page(tmp_path)
    page.get_by_role("button", name="sky", exact=True).click()
    strips = page.locator("tr.detail:visible .strip")
    files = [strip.locator(".file").all_inner_texts() for strip in strips.all()]
    assert len(files) == 3
    assert files[0] == files[1]
    assert "the images of the same names" in strips.nth(1).locator("h4").inner_text()


def test_areas_alone_say_that_pictures_are_not_to_be_had(open_page, tmp_path):
    real, fakes = areas(40, REAL, seed=0, name="photos"), areas(40, REAL, seed=1, name="fakes")
    report(tmp_path, compare(real, [fakes]))
    page = open_page(tmp_path)
    page.get_by_role("button", name="sky", exact=True).click()
    assert "There are no pictures" in page.locator("tr.detail:visible").inner_text()
    assert page.locator("tr.detail:visible img").count() == 0


def test_too_few_images_say_why_there_is_no_distance(open_page, tmp_path):
    comparison = compare(areas(40, REAL, seed=0), [areas(12, REAL, seed=1)])
    report(tmp_path, comparison)
    tile = open_page(tmp_path).locator(".tile.main").inner_text()
    assert "–" in tile
    assert str(comparison.generated[0].fsd.reason) in tile


def test_the_page_is_drawn_again_from_the_record_alone(folder, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    (copy / "report.html").unlink()
    shutil.rmtree(copy / "overlays")
    report(copy, read_comparison(copy))
    assert (copy / "report.html").read_bytes() == (folder / "report.html").read_bytes()
    assert sorted(p.name for p in (copy / "overlays").iterdir()) == sorted(
        p.name for p in (folder / "overlays").iterdir()
    )


def test_a_page_that_is_current_is_kept_and_any_other_is_drawn(folder, tmp_path):
    comparison = read_comparison(folder)
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    page = copy / "report.html"

    def is_kept(record):
        page.write_bytes(page.read_bytes().replace(b"</body>", b"<!-- mine --></body>"))
        report(copy, record, keep_current=True)
        return b"<!-- mine -->" in page.read_bytes()

    assert is_kept(comparison)
    assert not is_kept(dataclasses.replace(comparison, caveats=("another record",)))
    assert not is_kept(comparison)
    (copy / "intervals.svg").unlink()
    assert not is_kept(comparison)
    next((copy / "overlays").iterdir()).write_bytes(b"cut")
    assert not is_kept(comparison)
    report(copy, comparison)
    assert page.read_bytes() == (folder / "report.html").read_bytes()


def test_a_picture_that_is_gone_or_outside_is_an_error(folder, tmp_path):
    comparison = read_comparison(folder)
    with pytest.raises(RecordError, match=r"pictures/"):
        report(tmp_path, comparison)
    held = comparison.generated[0].example_images["object/sky"]
    outside = dataclasses.replace(held[0], image="../secret.png")
    real = dataclasses.replace(comparison.real, example_images={"object/sky": (outside,)})
    with pytest.raises(RecordError, match=r"\.\./secret\.png"):
        report(folder, dataclasses.replace(comparison, real=real))


def test_overlays_show_the_class_and_leave_the_rest_dark_or_coloured():
    label_map = np.zeros((8, 8), np.int64)
    label_map[2:6, 2:6] = 3
    overlays = np.asarray(tiled_overlay(label_map, [3], list(CLASSES)).convert("RGBA"))
    every, one = overlays[:8], overlays[8:]
    assert one[3, 3, 3] == 0  # the class itself is seen
    assert one[0, 0, 3] == 165  # the rest lies under a scrim
    assert one[1, 3, 3] == 255  # the outline lies around, not on it
    expected = tuple(int(class_colour("tree")[i : i + 2], 16) for i in (1, 3, 5))
    assert tuple(every[3, 3, :3]) == expected
    assert class_colour("gargoyle") == class_colour("gargoyle") != class_colour("pew")


def test_label_maps_keep_more_than_256_classes(tmp_path):
    classes = (*(str(i) for i in range(400)), "sky")
    real = areas(4, {"sky": 0.5}, seed=0, name="photos", classes=classes)
    stored = run(tmp_path, real, [real]).real.example_images["object/sky"][0].label_map
    with Image.open(tmp_path / stored) as image:
        assert np.asarray(image).max() == 400


def test_pictures_of_what_is_left_out_open_the_page(open_page, folder):
    page = open_page(folder)
    assert page.locator("main > section").first.locator("h2").get_attribute("id") == "found"
    findings = page.locator(".finding")
    assert findings.locator("h3 .link").all_inner_texts() == ["person"]
    real, generated = findings.first.locator(".strip").all()
    assert real.locator(".pictures li").count() == 4
    assert "none of 200" in generated.inner_text()
    assert [row.locator("img").count() for row in page.locator(".samples .side").all()] == [8, 8]


def test_no_more_than_six_classes_are_pictured(open_page, tmp_path):
    classes = ("none", "sky", "building", *(f"lost {i}" for i in range(8)))
    real = areas(300, dict.fromkeys(classes[3:], 0.3), seed=0, classes=classes)
    fakes = areas(300, {"sky": 0.3}, seed=1, classes=classes)
    report(tmp_path, run(tmp_path, real, [fakes]))
    page = open_page(tmp_path)
    assert page.locator(".finding").count() == 6
    assert "8 classes" in page.locator(".found .said").inner_text()


def test_chips_record_and_terminal_count_the_same_classes(open_page, tmp_path):
    real = areas(200, REAL, seed=0, name="photos")
    real.pixels[:, 0] = real.pixels[:, 2] // 2
    real.pixels[:, 2] -= real.pixels[:, 0]
    fakes = areas(200, REAL | {"person": 0.0}, seed=1, name="fakes")
    comparison = run(tmp_path, real, [fakes])
    report(tmp_path, comparison)
    page = open_page(tmp_path)
    chips = [text.split() for text in page.locator(".filter").all_inner_texts()]
    counts = {verdict: n for verdict, n in comparison.generated[0].counts.items() if n}
    assert {verdict: int(shown) for verdict, shown in chips} == counts
    assert sum(counts.values()) == len(names(page)) == 5  # without the word for no class
    line = next(line for line in comparison.summary().split("\n") if "Classes" in line)
    assert all(f"{n} {verdict}" in line for verdict, n in counts.items())


def test_the_gate_and_what_two_generators_differ_in_are_on_the_page(open_page, tmp_path):
    sides = [areas(200, REAL, seed=1, name="previous"), areas(200, REAL, seed=2, name="new")]
    sides[1].pixels[:, 2] += sides[1].pixels[:, 5]
    sides[1].pixels[:, 5] = 0
    comparison = run(tmp_path, areas(200, REAL, seed=0, name="photos"), sides)
    gate = Gate(("omitted",)).judge(comparison)
    report(tmp_path, dataclasses.replace(comparison, gate=gate))
    page = open_page(tmp_path)
    said = page.locator("section", has=page.locator("#gate")).inner_text()
    assert all(sentence in said for sentence in gate.sentences)
    between = page.locator("section", has=page.locator("#between")).inner_text()
    assert number(comparison.orderings[0].fsd_difference) in between


def test_two_generators_fit_into_a_page_of_1280_pixels(open_page, tmp_path):
    sides = [areas(200, REAL, seed=seed, name=f"generator-{seed}") for seed in range(3)]
    report(tmp_path, run(tmp_path, sides[0], sides[1:]))
    page = open_page(tmp_path, viewport={"width": 1280, "height": 800})
    table = page.locator(".catalogue .scroll").first
    assert table.evaluate("e => e.scrollWidth <= e.clientWidth")
