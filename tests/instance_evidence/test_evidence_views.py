import dataclasses

from tests.support.evidence_world import evidence_world

from unseen.instance_evidence.record import read_evidence
from unseen.instance_evidence.retention_figures import draw_retention


def test_saved_evidence_is_read_as_it_was_with_its_pictures(tmp_path):
    evidence_world(tmp_path / "old")
    evidence = read_evidence(tmp_path / "old")
    again = read_evidence(evidence.save(tmp_path / "new"))
    assert again == evidence
    files = {path.relative_to(tmp_path / "old") for path in (tmp_path / "old").rglob("*.png")}
    assert files == {
        path.relative_to(tmp_path / "new") for path in (tmp_path / "new").rglob("*.png")
    }


def test_the_html_shows_the_photographs_beside_their_reconstructions(tmp_path):
    evidence_world(tmp_path)
    html = read_evidence(tmp_path)._repr_html_()
    assert html.count("data:image/png") == 1  # the figure
    assert html.count("data:image/webp") == 2 * 2  # two photographs
    assert "cannot draw" in html


def test_a_table_has_a_row_a_class_and_method(tmp_path):
    evidence_world(tmp_path)
    frame = read_evidence(tmp_path).to_pandas()
    assert list(frame["method"]) == ["f-layer1", "f-layer2", "d"]
    assert frame[frame["primary"]].iloc[0]["retained"] == 0.25


def test_curves_and_retention_are_figures(tmp_path):
    evidence = evidence_world(tmp_path)
    assert evidence.plot("curves")._repr_png_().startswith(b"\x89PNG")
    assert evidence.plot()._repr_png_().startswith(b"\x89PNG")


def test_a_long_name_of_a_method_does_not_cut_what_the_axis_says():
    evidence = evidence_world()
    named = "optimised features (layers up to “synthesis.b8.conv1” are changed)"
    methods = tuple(dataclasses.replace(method, label=named) for method in evidence.methods)
    figure = draw_retention(dataclasses.replace(evidence, methods=methods))
    assert figure.axes[0].get_xlabel() == f"retained, mean with 95 % interval\nby {named}"
