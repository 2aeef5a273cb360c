"""The keywords of the library's functions are the fields of their tasks."""

import dataclasses
from typing import get_type_hints

import pytest

from unseen.distribution.comparison_run import ComparisonOptions, ComparisonRun
from unseen.distribution.segment import Segmentation, SegmentationOptions
from unseen.instance_evidence.measuring import EvidenceOptions, EvidenceTask
from unseen.inversion.invert import InversionOptions, InversionRun
from unseen.inversion.inverter_training import InverterTraining, TrainingOptions


@pytest.mark.parametrize(
    ("options", "task", "own"),
    [
        (SegmentationOptions, Segmentation, ("keep_maps",)),
        (ComparisonOptions, ComparisonRun, ("real", "generated", "out", "segmenter")),
        (EvidenceOptions, EvidenceTask, ()),
        (InversionOptions, InversionRun, ()),
        (TrainingOptions, InverterTraining, ("folder",)),
    ],
)
def test_keywords_have_the_names_and_types_of_the_tasks_fields(options, task, own):
    types = get_type_hints(task)
    fields = {field.name: types[field.name] for field in dataclasses.fields(task)}
    assert get_type_hints(options) == {
        name: kind for name, kind in fields.items() if name not in own
    }
