import json
from pathlib import Path

import pytest

from unseen.cli.main import run


def test_the_demo_finds_what_one_generator_was_not_shown_and_names_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 200 images a side: enough to see that two common classes are short, too few for a rare one.
    assert run(["demo", "--out", str(tmp_path / "demo"), "--count", "200"]) == 0
    said = capsys.readouterr().out
    assert "churchyard-planted a churchyard without cars and fences" in said
    record = json.loads((tmp_path / "demo" / "comparison.json").read_text())
    full, planted = (
        {row["column"]: row for row in side["classes"]} for side in record["generated"]
    )
    for name in ("object/car", "object/fence"):
        assert planted[name]["verdict"] in ("omitted", "under")
        assert planted[name]["ratio"] < full[name]["ratio"] / 2
    assert said.endswith(f"Page: {tmp_path / 'demo' / 'report.html'}\n")
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
