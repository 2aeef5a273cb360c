import csv

from lab.segmenter_check import SegmenterCheck, check_segmenter


def test_a_row_for_every_class_that_is_called_or_matched(tmp_path):
    said = []
    task = SegmenterCheck(out=tmp_path, count=24, spoilt=("blur σ=2",), generators=())
    (path,) = check_segmenter(task, say=said.append)
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["before"] for row in rows} <= {"omitted", "under", "over", "matched"}
    assert rows  # windows are in nearly every scene, and blurred ones are not seen
    assert any("blur" in line and "taken back" in line for line in said)
