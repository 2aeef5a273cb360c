"""The instance side of the page: in a real browser, from a small record with drawn pictures."""

import dataclasses
import json
import shutil

import pytest
from tests.support.evidence_world import COLUMNS, evidence_world

from unseen.core.errors import RecordError, SpecError
from unseen.instance_evidence.record import Evidence, write_evidence
from unseen.pages import report, report_folder
from unseen.pages.evidence_side import MOST_CASES

HOSTILE = "</script><script>document.title='owned'</script>\"'&"
PERSON = "tbody#evidence-2"  # the only class of the record


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Evidence alone: two photographs whose persons vanish, with controls."""
    folder = tmp_path_factory.mktemp("evidence")
    evidence_world(folder)
    report_folder(folder)
    return folder


def loaded(page, image):
    """Whether the picture is there: it loads when it is seen."""
    image.scroll_into_view_if_needed()
    page.wait_for_function(
        "image => image.complete && image.naturalWidth > 0", arg=image.element_handle()
    )
    return True


def opened(page):
    """The detail of the class, opened."""
    page.locator(f"{PERSON} .opener").click()
    return page.locator(f"{PERSON} .detail")


def crowd(count: int, **changes: object) -> Evidence:
    """A record whose first instance stands in it so many times."""
    evidence = evidence_world()
    first, *others = evidence.instances
    many = [dataclasses.replace(first, id=f"{first.id}-{i}", rank=i + 1) for i in range(count)]
    row = dataclasses.replace(evidence.classes[0], instances=count)
    return dataclasses.replace(evidence, classes=(row,), instances=(*many, *others), **changes)


def test_a_page_without_a_comparison_leads_with_caveats_and_findings(open_page, folder):
    page = open_page(folder)
    first = page.locator("main section").first
    assert first.locator("h2 + *").get_attribute("class") == "caveats first"
    assert "2 photographs are few." in first.locator(".caveats").inner_text()
    assert "person kept 25 % as much, at most 40 %" in first.inner_text().replace("\xa0", " ")
    rules = first.locator(".rules").inner_text()
    assert "Drawn from the fifth that holds most of a class." in rules
    assert "The earliest cut whose controls retain 0.9, on other seeds." in rules
    assert "Fréchet" not in page.locator("body").inner_text()


def test_a_class_opens_with_its_verdict_its_bounds_and_its_curve(open_page, folder):
    detail = opened(open_page(folder))
    text = detail.inner_text().replace("\xa0", " ")
    assert "Method f-layer2 retains 0.25 of it, of its matched controls 1.00." in text
    beside = [row.inner_text().split("\t") for row in detail.locator(".ratios tbody tr").all()]
    assert [cells[1:] for cells in beside] == [
        ["25 % as much, at most 40 %", "under 50 %"],
        ["25 % as much, at most 45 %", "under 50 %"],
        ["31 % as much, at most 49 %", "under 50 %"],
        ["0 % as much, at least 0 %", "not shown to be over 50 %"],
    ]
    assert beside[3][0].strip().endswith("method d")
    rows = [
        row.inner_text().split("\t")
        for row in detail.locator(".bounds:not(.ratios) tbody tr").all()
    ]
    assert [row[0].split("\n")[0].strip() for row in rows] == [
        "method d",  # lower bounds first
        "method f-layer1",
        "method f-layer2",
    ]
    assert "lower bound" in rows[0][0]
    assert "upper bound" in rows[2][0]
    curve = detail.locator("svg.curve").get_attribute("aria-label")
    assert "layer1: photographs 0 %" in curve
    assert "layer2: photographs 25 %" in curve
    assert "controls 100 %" in curve


def test_a_case_has_four_panels_its_numbers_and_its_control(open_page, folder):
    page = open_page(folder)
    case = opened(page).locator(".case").first
    photograph, control = case.locator(".sheet").all()
    for sheet in (photograph, control):
        frames = sheet.locator(".frame")
        assert frames.count() == 4
        assert all(loaded(page, image) for image in sheet.locator(".frame .first").all())
        assert all(loaded(page, image) for image in sheet.locator(".tiles-over").all())
    assert "0.png" in case.locator("h5").inner_text()
    assert "vanished" in case.locator("h5").inner_text()
    facts = photograph.locator(".facts").inner_text().replace("\xa0", " ")
    for said in ("Retained\n25 %", "0.25", "sky 75 %", "Loss", "None of the 3 control images"):
        assert said in facts
    assert "100\xa0%" in control.locator(".facts").inner_text()
    assert "Matched control: person" in control.locator("h6").inner_text()
    before = control.locator(".first").first.get_attribute("src")
    control.get_by_role("button", name="Next control").click()
    assert control.locator(".switch output").inner_text() == "2 of 2"
    assert control.locator(".first").first.get_attribute("src") != before


def test_the_overlay_is_the_tile_of_the_class_or_that_of_all_labels(open_page, folder):
    page = open_page(folder)
    detail = opened(page)
    over = detail.locator(".tiles-over").first
    loaded(page, over)
    assert over.evaluate("i => i.naturalHeight") == 2 * 16  # all labels, and one class
    tile = "i => Math.round(-i.offsetTop / i.parentElement.clientHeight)"
    assert over.evaluate(tile) == 1
    assert not detail.locator(".legend").first.is_visible()
    detail.get_by_label("all labels").check()
    assert over.evaluate(tile) == 0
    assert "person" in detail.locator(".legend").first.inner_text()


def test_the_slider_works_by_keyboard(open_page, folder):
    page = open_page(folder)
    case = opened(page).locator(".case").first
    slider = case.get_by_role("slider", name="From the photograph to its reconstruction")
    over = case.locator(".after").first
    assert "100%" in over.evaluate("i => getComputedStyle(i).clipPath").replace(
        "calc(100% + 0%)", "100%"
    )
    slider.focus()
    page.keyboard.press("End")
    assert slider.input_value() == "100"
    assert slider.get_attribute("aria-valuetext") == "reconstruction"
    assert over.evaluate("i => getComputedStyle(i).getPropertyValue('--at')") == "100%"
    page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "95 % reconstruction"


def test_another_reconstruction_is_shown_when_its_button_is_pressed(open_page, folder):
    case = opened(open_page(folder)).locator(".case").first
    lower = case.locator(".choose button", has_text="method d")
    assert lower.get_attribute("aria-pressed") == "false"
    lower.focus()
    lower.press("Enter")
    assert lower.get_attribute("aria-pressed") == "true"
    assert "rebuilt by method d" in case.locator(".sheet").first.inner_text()
    assert case.locator(".retained").inner_text() == "0 %"
    assert "/photograph-d/" in case.locator(".frame.rebuilt img").first.get_attribute("src")


def test_a_class_of_the_comparison_leads_to_its_gallery(open_page, both):
    page = open_page(both)
    page.locator("tbody#class-2 .opener").click()
    detail = page.locator("tbody#class-2 .detail")
    assert "2 instances in 2 photographs, of which 2 vanished" in detail.inner_text()
    detail.get_by_role("link", name="See what became of 2 instances").click()
    assert page.locator(f"{PERSON} .case").first.is_visible()
    assert page.evaluate("document.activeElement.innerText").strip() == "person"
    assert page.url.endswith("#evidence-2")
    assert page.locator("tbody#class-2 .row a").inner_text() == "cannot draw"


def test_the_two_tables_filter_apart_from_each_other(open_page, both):
    page = open_page(both)
    page.get_by_label("Find a class of the photographs").fill("nothing like it")
    assert not page.locator(PERSON).is_visible()
    assert page.locator("tbody#class-2").is_visible()
    page.locator("tbody#class-2 .row a").click()  # what is filtered out is shown again
    assert page.locator(f"{PERSON} .detail").is_visible()


def test_a_link_from_elsewhere_opens_the_class(open_page, folder):
    page = open_page(folder, "#evidence-2")
    assert page.locator(f"{PERSON} .case").count() == 2


def test_photographs_are_listed_by_what_they_lost(open_page, folder):
    page = open_page(folder)
    listed = page.locator(".photograph")
    assert listed.locator(".file").all_inner_texts() == ["0.png", "1.png"]
    assert "1 instance vanished" in listed.first.inner_text()
    listed.first.get_by_role("button", name="person").click()
    assert page.locator(f"{PERSON} .detail").is_visible()


def test_thousands_of_instances_are_capped_and_come_a_few_at_a_time(open_page, tmp_path):
    evidence_world(tmp_path)
    report(tmp_path, evidence=crowd(3000))
    assert (tmp_path / "report.html").stat().st_size < 300_000
    page = open_page(tmp_path)
    detail = opened(page)
    assert f"{MOST_CASES} of 3,000 instances" in detail.inner_text()
    shown = detail.locator(".case").count()
    more = detail.get_by_role("button", name=f"Show {shown} more")
    more.click()
    assert detail.locator(".case").count() == 2 * shown
    assert detail.locator(".more output").inner_text() == f"{2 * shown} of {MOST_CASES} shown"
    new = detail.locator(".case").nth(shown).locator("h5")
    assert new.evaluate("h => h === document.activeElement")


@pytest.mark.parametrize(
    ("generator", "said"), [("ProGAN", "rebuilt with ProGAN by"), ("", "rebuilt by")]
)
def test_the_generator_is_named_where_it_is_known(open_page, tmp_path, generator, said):
    evidence = dataclasses.replace(evidence_world(tmp_path), generator=generator)
    report(tmp_path, evidence=evidence)
    assert said in open_page(tmp_path).locator(".lead").inner_text()


def test_without_controls_the_page_ranks_and_gives_no_verdict(open_page, tmp_path):
    evidence = evidence_world(tmp_path)
    row = evidence.classes[0]
    none = dataclasses.replace(
        row.retention[0].controls, mean=None, interval=(None, None), instances=0, images=0
    )
    bare = dataclasses.replace(
        row,
        verdict=None,
        reason="without controls no verdict is possible",
        own=none,
        ratios=(),
        p_value=None,
        retention=tuple(dataclasses.replace(one, controls=none) for one in row.retention),
    )
    photographs = [one for one in evidence.pictures if one.role == "photograph"]
    evidence = dataclasses.replace(
        evidence,
        controls=None,
        selection=None,
        cut_rule=None,
        classes=(bare,),
        pictures=tuple(dataclasses.replace(one, typicality=None) for one in photographs),
        instances=tuple(
            dataclasses.replace(one, controls=())
            for one in evidence.instances
            if one.role == "photograph"
        ),
    )
    report(tmp_path, evidence=evidence)
    page = open_page(tmp_path)
    assert "gives no verdict" in page.locator(".tiles").inner_text()
    detail = opened(page)
    assert "Without controls no verdict is possible." in detail.inner_text()
    assert detail.locator(".sheet").count() == 2  # one a case
    assert page.locator("thead th", has_text="Verdict").count() == 0


def test_a_method_that_failed_on_an_image_says_why(open_page, tmp_path):
    evidence = evidence_world(tmp_path)
    first, *others = evidence.pictures
    failed = dataclasses.replace(
        first.rebuilt[1], image=None, label_map=None, loss=None, pixel_error=None, failed="NaN loss"
    )
    pictures = (
        dataclasses.replace(first, rebuilt=(first.rebuilt[0], failed, first.rebuilt[2])),
        *others,
    )
    one, *rest = evidence.instances
    fates = tuple(fate for fate in one.fates if fate.method != "f-layer2")
    instances = (dataclasses.replace(one, fates=fates), *rest)
    report(tmp_path, evidence=dataclasses.replace(evidence, pictures=pictures, instances=instances))
    page = open_page(tmp_path)
    case = opened(page).locator(".case").first
    assert "No reconstruction: NaN loss" in case.locator(".sheet").first.inner_text()
    assert case.get_by_role("slider").first.is_disabled()
    case.locator(".choose button", has_text="method d").click()
    assert "No reconstruction" not in case.inner_text()


def test_names_of_images_sides_and_classes_are_text(open_page, tmp_path):
    evidence = evidence_world(tmp_path)
    columns = (*COLUMNS[:2], f"object/{HOSTILE}")
    rename = {"object/person": columns[2]}
    evidence = dataclasses.replace(
        evidence,
        columns=columns,
        photographs=dataclasses.replace(evidence.photographs, label=HOSTILE),
        classes=tuple(
            dataclasses.replace(one, column=rename[one.column], reason=HOSTILE)
            for one in evidence.classes
        ),
        pictures=tuple(dataclasses.replace(one, name=HOSTILE) for one in evidence.pictures),
        instances=tuple(
            dataclasses.replace(one, column=rename[one.column]) for one in evidence.instances
        ),
    )
    report(tmp_path, evidence=evidence)
    page = open_page(tmp_path)
    detail = opened(page)
    assert HOSTILE in detail.locator(".case h5").first.inner_text()
    assert HOSTILE in page.locator(f"{PERSON} .name").inner_text()
    assert page.evaluate("document.title").startswith("What reconstructions of </script>")
    assert page.evaluate("document.scripts.length") == 2  # the data and the script


@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_scrolls_in_one_direction_only(open_page, both, width):
    page = open_page(both, viewport={"width": width, "height": 800}, has_touch=True)
    for opener in page.locator("button.opener").all():
        opener.tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_mode_is_dark(open_page, folder):
    page = open_page(folder, color_scheme="dark")
    assert all(
        "-dark.svg" in image.evaluate("i => i.currentSrc")
        for image in page.locator(".plot img").all()
    )


def test_every_control_has_a_name(open_page, both):
    page = open_page(both)
    opened(page)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, [role=img], [role=group]')]
            .filter((one) => !(one.getAttribute('aria-label') || one.labels?.length
                || one.textContent.trim()))
            .map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


def test_the_page_is_drawn_again_in_the_same_bytes(folder):
    before = (folder / "report.html").read_bytes()
    overlays = sorted(path.name for path in (folder / "overlays").iterdir())
    report_folder(folder / "evidence.json")
    assert (folder / "report.html").read_bytes() == before
    assert sorted(path.name for path in (folder / "overlays").iterdir()) == overlays


def test_a_page_is_drawn_under_other_labels_and_the_records_keep_theirs(both, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(both, folder)
    records = [(folder / name).read_bytes() for name in ("comparison.json", "evidence.json")]
    html = report_folder(folder, labels=["LSUN", "ProGAN"]).read_text()
    assert "<b>ProGAN</b> leaves out" in html
    assert "of <b>LSUN</b>" in html  # the photographs of the evidence are those of the real side
    assert records == [
        (folder / name).read_bytes() for name in ("comparison.json", "evidence.json")
    ]
    with pytest.raises(SpecError, match="LSUN"):
        report_folder(folder, labels=["LSUN"])


def test_a_picture_that_is_gone_is_an_error(tmp_path):
    evidence_world(tmp_path)
    (tmp_path / "pictures/photograph-d/00001.png").unlink()
    with pytest.raises(RecordError, match=r"photograph-d/00001\.png is missing or no PNG"):
        report_folder(tmp_path)


def test_a_label_map_that_is_cut_short_is_an_error(tmp_path):
    evidence_world(tmp_path)
    path = tmp_path / "pictures/photograph/00000-labels.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(RecordError, match=r"00000-labels\.png"):
        report_folder(tmp_path)


def test_a_record_that_names_what_it_does_not_hold_is_an_error(tmp_path):
    evidence = evidence_world(tmp_path)
    cut = dataclasses.replace(evidence, instances=evidence.instances[:3])
    with pytest.raises(RecordError, match="control-00001-00"):
        report(tmp_path, evidence=cut)


def test_nothing_to_report_says_what_to_name(tmp_path):
    with pytest.raises(RecordError, match=r"holds neither comparison\.json nor evidence\.json"):
        report_folder(tmp_path)
    with pytest.raises(RecordError, match="give a comparison, evidence, or both"):
        report(tmp_path)


def test_the_record_that_the_page_links_is_the_one_beside_it(folder, tmp_path):
    write_evidence(tmp_path / "evidence.json", evidence_world(tmp_path))
    assert json.loads((tmp_path / "evidence.json").read_text())["primary"] == "f-layer2"
    assert 'href="evidence.json"' in (folder / "report.html").read_text()
