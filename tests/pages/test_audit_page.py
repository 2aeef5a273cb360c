"""The page of an audit in a real browser, driven by its keys."""

import csv

import numpy as np
import pytest

from unseen.audit.picture import AuditPicture
from unseen.distribution.audit_labels import read_answers
from unseen.pages.audit_page import audit_page

HOSTILE = 'a "b", </script><b>.png'


@pytest.fixture
def page_of(tmp_path, browser):
    """Open the page of so many pictures, in a browser that keeps what pages store."""
    random = np.random.default_rng(0)
    complaints, contexts = [], []

    def opened(count, **options):
        pictures = [
            AuditPicture(
                "real" if k % 2 else "generated-1",
                HOSTILE if k == 0 else f"{k}.png",
                random.integers(0, 255, (3, 48, 64), np.uint8),
            )
            for k in range(count)
        ]
        file = audit_page(tmp_path / "audit.html", "person", pictures)
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def where(page):
    return page.locator("#where").inner_text()


def test_keys_answer_and_a_reload_loses_nothing(page_of):
    page = page_of(5)
    assert where(page) == "Picture 1 of 5"
    for key in ("y", "n", "?"):
        page.keyboard.press(key)
    assert where(page) == "Picture 4 of 5"
    page.reload()
    assert where(page) == "Picture 4 of 5"
    page.keyboard.press("Backspace")
    assert page.locator("#answer").inner_text() == "can’t say"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("y")  # instead of no
    assert where(page) == "Picture 3 of 5"
    assert page.evaluate("Object.values(JSON.parse(Object.values(localStorage)[0]).answers)") == [
        *("y", "y", "?")
    ]


def test_the_answers_are_saved_as_the_labels_that_are_read(page_of, tmp_path):
    page = page_of(3)
    for key in "yn?":
        page.keyboard.press(key)
    assert page.locator("#done").is_visible()
    page.locator("#labeller").fill("Ann Ny, 2")  # its keys answer nothing
    assert page.locator("#summary").inner_text().startswith("1 yes, 1 no, 1")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the answers").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    answers = read_answers([file])
    assert [(a.class_name, a.side, a.name, a.labeller) for a in answers] == [
        ("person", side, name, "Ann Ny, 2")
        for side, name in (("generated-1", HOSTILE), ("real", "1.png"), ("generated-1", "2.png"))
    ]
    assert [a.label for a in answers][:2] == [1.0, 0.0]
    with file.open(newline="") as lines:
        assert len(list(csv.reader(lines))) == 4


def test_nothing_that_is_shown_tells_the_side(page_of):
    page = page_of(4)
    for _ in range(4):
        assert "real" not in page.locator("body").inner_text().casefold()
        assert "generated" not in page.locator("body").inner_text().casefold()
        page.keyboard.press("n")


def test_a_phone_has_room_for_the_picture_and_large_buttons(page_of):
    page = page_of(3, viewport={"width": 360, "height": 640}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    stage, yes = (page.locator(one).bounding_box() for one in (".stage", "[data-answer=y]"))
    assert stage["height"] > 300
    assert yes["y"] + yes["height"] <= 640
    assert yes["height"] >= 44  # what a thumb needs
    page.get_by_role("button", name="Yes").tap()
    assert where(page) == "Picture 2 of 3"


def test_the_page_needs_no_network_and_answers_at_once(page_of):
    page = page_of(200)
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert "default-src 'none'" in policy
    slowest = page.evaluate(
        """async () => {
          const times = [];
          for (let i = 0; i < 200; i++) {
            const start = performance.now();
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "y", bubbles: true }));
            times.push(performance.now() - start);
          }
          return times;
        }"""
    )
    assert page.locator("#done").is_visible()
    # Ten minutes for 200 pictures leave three seconds each: the page may take a tenth of them.
    assert sum(slowest) < 60_000
