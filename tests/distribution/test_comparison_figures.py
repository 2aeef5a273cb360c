import dataclasses

import pytest
from PIL import Image
from tests.support.worlds import areas

from unseen.distribution.compare import compare
from unseen.distribution.comparison_figures import draw_histogram, draw_intervals

REAL = {"sky": 0.7, "tree": 0.4, "person": 0.3, "car": 0.2}


@pytest.fixture(scope="module")
def comparison():
    real = areas(120, REAL, seed=0, name="photos")
    without = areas(120, REAL | {"person": 0.0, "car": 0.9}, seed=1, name="$a$ <b>")
    return compare(real, [without, areas(120, REAL, seed=2, name="other")])


def test_the_histogram_labels_what_it_clips_and_hides_class_0(comparison, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    draw_histogram(comparison, tmp_path / "h.png")
    _, first, second = drawn[0].axes
    names = [label.get_text() for label in second.get_xticklabels()]
    rows = [row for row in comparison.generated[0].classes if row.name != "none"]
    assert names == [row.name for row in sorted(rows, key=lambda row: -row.real_area)]
    # present 4.5 times as often: clipped at +1.15 and labelled
    assert [text.get_text() for text in first.texts] == [
        f"+{row.relative_change:.1f}"
        for row in comparison.generated[0].classes
        if (row.relative_change or 0) > 1.15
    ]
    heights = {
        round(patch.get_x() + patch.get_width() / 2): patch.get_height() for patch in first.patches
    }
    assert heights[names.index("person")] == -1.0
    assert heights[names.index("car")] == 1.15


def test_figures_are_written_as_png_and_svg_and_again_in_the_same_bytes(comparison, tmp_path):
    for draw in (draw_histogram, draw_intervals):
        first, second = tmp_path / "a.svg", tmp_path / "b.svg"
        draw(comparison, first, tmp_path / "a.png")
        draw(comparison, second)
        assert first.read_bytes() == second.read_bytes()
        with Image.open(tmp_path / "a.png") as image:
            assert image.width > 600


def test_nothing_tested_is_a_figure_that_says_so(tmp_path):
    real = areas(4, {"sky": 0.5}, seed=0, name="photos")
    comparison = compare(real, [areas(4, {"sky": 0.5}, seed=1, name="fakes")])
    bare = dataclasses.replace(comparison.generated[0], classes=())
    draw_intervals(dataclasses.replace(comparison, generated=(bare,)), tmp_path / "i.png")
    draw_intervals(comparison, tmp_path / "j.png")
    assert (tmp_path / "j.png").stat().st_size > 0
