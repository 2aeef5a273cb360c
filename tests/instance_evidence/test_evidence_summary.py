import dataclasses

from tests.support.evidence_world import evidence_world

from unseen.instance_evidence.evidence_summary import evidence_summary


def test_the_summary_counts_verdicts_and_names_the_worst():
    lines = evidence_summary(evidence_world()).split("\n")
    assert lines[0].startswith(
        "2 photographs (photos), rebuilt by method f-layer2; 3 controls (the"
    )
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "Vanished 2 of 2 instances" in text
    assert "Verdicts 1 cannot draw" in text
    assert "Cut layer2: the earliest cut whose controls retain 0.9, on other seeds." in text
    assert (
        "cannot draw person 25 % [20 – 30 %] retained 25 % as much as controls, at most 40 %"
        in text
    )
    assert "1. 0.png vanished: person 12.5 %" in text
    assert lines[-1] == "Note: 2 photographs are few."


def test_the_rule_of_a_mosaic_stands_for_its_settings():
    evidence = evidence_world()
    methods = tuple(dataclasses.replace(method, cut=None) for method in evidence.methods)
    text = evidence_summary(dataclasses.replace(evidence, methods=methods))
    assert "  Settings     The earliest cut whose controls retain 0.9, on other seeds." in text
    assert "unknown" not in text


def test_names_cannot_steer_the_terminal():
    evidence = evidence_world()
    hostile = dataclasses.replace(evidence.pictures[0], name="a\x1b[2J\nVerdicts 0")
    text = evidence_summary(
        dataclasses.replace(evidence, pictures=(hostile, *evidence.pictures[1:]))
    )
    assert all(line.isprintable() for line in text.split("\n"))


def test_without_controls_there_are_no_verdicts():
    evidence = evidence_world()
    row = dataclasses.replace(evidence.classes[0], verdict=None)
    text = evidence_summary(dataclasses.replace(evidence, controls=None, classes=(row,)))
    assert "Verdicts" not in text
    assert "controls" not in text.split("Note")[0].split("Cut")[0]
