from pathlib import Path

import pytest

import unseen
from unseen.cli.main import run


def test_the_demo_finds_what_one_generator_was_not_shown_and_names_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 200 images a side: enough to see that two common classes are short, too few for a rare one.
    # Ten steps of the optimiser: enough for a page, too few for what its verdicts say to count.
    out = tmp_path / "demo"
    assert run(f"demo --out {out} --count 200 --each 1 --steps 10 --samples 100".split()) == 0
    said = capsys.readouterr().out
    assert "churchyard-planted a churchyard without cars and fences" in said
    full, planted = (
        {row.name: row for row in side.classes}
        for side in unseen.read_comparison(out / "comparison.json").generated
    )
    for name in ("car", "fence"):
        assert planted[name].verdict in ("omitted", "under")
        assert planted[name].ratio < full[name].ratio / 2
    found = unseen.read_evidence(out)
    assert found.photographs.images == 4
    assert found.controls.images > 4
    assert {"car", "fence"} <= {row.name for row in found.classes}
    page, sets, scenes = said.splitlines()[-3:]
    assert page == f"Page: {out / 'report.html'}"
    assert sets.startswith("Against how often they occur, churchyard-planted, which never saw them")
    assert scenes.startswith("Of 4 scenes the nearest of 100 samples keep ")
    assert ", the nearest of 100 other photographs " in scenes
    row = next(row for row in found.classes if row.name == "fence")
    assert row.by("nearest").photographs.mean < row.by("reference").photographs.mean / 2
    assert "evidence-" in (out / "report.html").read_text(encoding="utf-8")
