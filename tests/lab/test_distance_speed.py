"""Timing the distance: every number of classes has a row."""

from lab.distance_speed import DistanceSpeed, time_distances


def test_every_number_of_classes_has_a_row() -> None:
    table = time_distances(DistanceSpeed(classes=(6, 9), images=30, repeats=1), lambda _: None)
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["6", "9"]
