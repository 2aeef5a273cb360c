"""The section of classes that were asked about: every image, a leaf of them at a time."""

import pytest
from tests.support.worlds import areas, run

from unseen.pages import report

REAL = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("asked")


@pytest.fixture(scope="module")
def comparison(folder):
    real = areas(100, REAL, seed=0, name="photos")
    fakes = areas(100, REAL | {"car": 0.0}, seed=1, name="fakes")
    comparison = run(folder, real, [fakes], classes=["person", "car"], labels=["LSUN", "<b>GAN"])
    report(folder, comparison)
    return comparison


def test_every_image_is_there_and_leaves_can_be_turned(open_page, folder, comparison):
    page = open_page(folder)
    section = page.locator(".asked")
    held = comparison.real.example_images["object/person"]
    book = section.locator("article").first.locator(".book").first
    assert len(held) > 24
    assert book.locator(".leaf:visible figure").count() == 24
    assert book.locator("output").inner_text() == f"1 – 24 of {len(held)}"
    book.get_by_role("button", name="Next images of LSUN").click()
    assert book.locator("output").inner_text() == f"25 – {len(held)} of {len(held)}"
    shown = book.locator(".leaf:visible .file").all_inner_texts()
    assert shown == [image.name for image in held[24:]]
    book.get_by_role("button", name="Next images of LSUN").click()  # from the last to the first
    assert book.locator(".leaf:visible figure").count() == 24


def test_on_paper_every_leaf_is_shown(open_page, folder, comparison):
    page = open_page(folder)
    held = comparison.real.example_images["object/person"]
    figures = page.locator(".asked article").first.locator(".book").first.locator("figure")
    assert figures.count() == 24
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert figures.count() == len(held) > 24
    assert figures.last.is_visible()
    assert page.locator(".asked [data-turn]").first.is_hidden()


def test_rates_stand_beside_the_images_and_none_is_said(open_page, folder, comparison):
    cars = open_page(folder).locator(".asked article").nth(1)
    generated = cars.locator(".book").nth(1)
    # Clopper and Pearson: 1 − 0.025^(1/100)
    assert "0 of 100: at most 3.62 % (95 %)" in generated.inner_text()
    assert "<b>GAN" in generated.inner_text()
    assert generated.locator("figure").count() == 0
    assert generated.locator(".none").is_visible()
    real = comparison.generated[0].named("omitted", "under", "undecided")
    row = next(row for row in real if row.name == "car")
    assert f"{round(100 * row.real_presence)} of 100: " in cars.locator(".book").first.inner_text()


def test_the_class_can_be_laid_over_its_pictures_alone(open_page, folder, comparison):
    section = open_page(folder).locator(".asked")
    people, cars = section.locator("article").all()
    cars.get_by_label("only car").check()
    assert cars.locator(".tiles-over").first.is_visible()
    assert not people.locator(".tiles-over").first.is_visible()


def test_what_is_not_counted_says_so(open_page, tmp_path):
    real = areas(100, REAL, seed=0, name="photos")
    fakes = areas(100, REAL, seed=1, name="fakes")
    comparison = run(tmp_path, real, [fakes], classes=["car"], presence_threshold=0.09)
    report(tmp_path, comparison)
    held = comparison.generated[0].example_images["object/car"]
    counted = sum(image.fraction >= 0.09 for image in held)
    said = open_page(tmp_path).locator(".asked .book").nth(1)
    assert said.get_by_text("not counted").count() == len(held) - counted > 0


def test_without_a_question_there_is_no_such_section(open_page, tmp_path):
    sides = [areas(40, REAL, seed=i, name=f"{i}") for i in (0, 1)]
    report(tmp_path, run(tmp_path, sides[0], sides[1:]))
    assert open_page(tmp_path).locator(".asked").count() == 0
