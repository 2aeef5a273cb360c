import json

from unseen.cli.main import run


def test_the_demo_finds_what_was_left_out_and_names_its_page(tmp_path, capsys):
    # 80 scenes a side: enough to see two common classes wholly gone, too few for a rare one.
    assert run(["demo", "--out", str(tmp_path / "demo"), "--count", "80"]) == 0
    said = capsys.readouterr().out
    assert "Left out on purpose: person, fence." in said
    record = json.loads((tmp_path / "demo" / "comparison.json").read_text())
    (side,) = record["generated"]
    verdict = {row["column"]: row["verdict"] for row in side["classes"]}
    assert verdict["object/person"] in ("omitted", "under")
    assert verdict["object/fence"] in ("omitted", "under")
    assert said.endswith(f"Page: {tmp_path / 'demo' / 'report.html'}\n")
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
