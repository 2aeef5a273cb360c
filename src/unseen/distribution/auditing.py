"""A comparison corrected by labels: the rows of audited classes, and what the segmenter got wrong.

A comparison, its areas and labels in; the comparison with corrected rows out. What the numbers mean
is in docs/audit.md.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from unseen.core.errors import SpecError
from unseen.core.wording import Interval, count, listed
from unseen.distribution.areas import Areas, class_name
from unseen.distribution.audit_labels import Answer, ClassLabels, labels_by_column
from unseen.distribution.comparison import (
    AuditedSide,
    AuditedStratum,
    ClassAudit,
    ClassRow,
    Comparison,
    GeneratedSide,
    SegmenterSaid,
    gravest_first,
    told_columns,
    verdict_counts,
)
from unseen.distribution.designs import side_keys
from unseen.distribution.example_images import named_images
from unseen.statistics import INDEPENDENT, Design
from unseen.statistics.audit_sample import STRATA, AuditSample, strata_of
from unseen.statistics.audited import (
    AuditPosterior,
    audited_interval,
    labels_to_decide,
)
from unseen.statistics.classes import OMITTED_BELOW, verdict_of

_LEVEL = 0.95
_EXAMPLES = 3  # names that a message shows
_SAID = tuple(field.name for field in dataclasses.fields(SegmenterSaid))
_OF_CHANGES = (
    "What two generated sides differ in is by the segmenter's counts, also of audited classes."
)


def with_audit(
    comparison: Comparison,
    sides: Sequence[Areas],
    answers: Sequence[Answer],
    designs: Sequence[Design] | None = None,
) -> Comparison:
    """The comparison with the rows of the labelled classes corrected; an earlier audit is replaced.

    Args:
        comparison: of these areas.
        sides: areas of every side, the real one first.
        answers: what people said.
        designs: groups and weights of every side; None: independent images that count alike.

    Raises:
        SpecError: labels of a class, a side or an image that the comparison does not have, or of
            one side alone.
        SampleError: images of which the segmenter says yes, or no, without any label.
    """
    keys = side_keys(len(sides))
    by_column = labels_by_column(answers, comparison.columns, keys)
    judged = {row.column for side in comparison.generated for row in side.classes}
    for column in by_column:
        if column not in judged:
            raise SpecError(
                f"{class_name(column)} was labelled, and the comparison does not test it; compare "
                "again without --class, or with it"
            )
    level = 1.0 - (1.0 - _LEVEL) / max(len(by_column), 1)
    designs = designs or [INDEPENDENT] * len(sides)
    generated = []
    for i, side in enumerate(comparison.generated, 1):
        pair = [(keys[k][0], sides[k], designs[k]) for k in (0, i)]
        rows = []
        for row in map(_unaudited, side.classes):
            labels = by_column.get(row.column)
            if labels is not None and keys[i][0] in labels.majority:
                samples = [_Sample.of(row, labels, *of) for of in pair]
                row = _audited(row, labels, samples, level)
            rows.append(row)
        rows.sort(key=gravest_first)
        generated.append(dataclasses.replace(side, classes=tuple(rows)))
    told = told_columns(comparison.columns, generated)
    caveats = [text for text in comparison.caveats if text != _OF_CHANGES]
    if comparison.orderings and by_column:
        caveats.append(_OF_CHANGES)
    return dataclasses.replace(
        comparison,
        generated=tuple(_counted(side, told) for side in generated),
        caveats=tuple(caveats),
    )


def _counted(side: GeneratedSide, told: frozenset[str]) -> GeneratedSide:
    counts = verdict_counts(row for row in side.classes if row.column in told)
    return dataclasses.replace(side, counts=counts)


def _unaudited(row: ClassRow) -> ClassRow:
    """The row as the segmenter made it."""
    if row.audit is None:
        return row
    said = {name: getattr(row.audit.segmenter, name) for name in _SAID}
    return dataclasses.replace(row, audit=None, **said)


@dataclasses.dataclass(frozen=True, eq=False)
class _Sample:
    """One side with the labels of a class."""

    side: Areas
    sample: AuditSample
    unsure: int  # images of which people could not say

    @classmethod
    def of(
        cls, row: ClassRow, labels: ClassLabels, key: str, side: Areas, design: Design
    ) -> "_Sample":
        """The side's areas of the class, with what the majority says of each labelled image."""
        said: Mapping[str, float] = labels.majority.get(key, {})
        if not said:
            raise SpecError(f"no image of the side {key} is labelled for {row.name}; label some")
        index = {name: i for i, name in enumerate(side.names)}
        strange = [name for name in said if name not in index]
        if strange:
            raise SpecError(
                f"{count(len(strange), 'image')} labelled for {row.name} are not on the side "
                f"{key}, such as {listed(strange[:_EXAMPLES])}; give the labels of this run"
            )
        table = np.full(len(side), np.nan)
        for name, label in said.items():
            table[index[name]] = label
        fraction = side.shares(side.columns.index(row.column))
        independent = design.groups is None and design.weights is None
        effective = row.real_effective if key == "real" else row.generated_effective
        sample = AuditSample(
            fraction, row.presence_threshold, table, design, None if independent else effective
        )
        return cls(side, sample, sum(math.isnan(label) for label in said.values()))


def _audited(
    row: ClassRow, labels: ClassLabels, sides: Sequence[_Sample], level: float
) -> ClassRow:
    """The row with its corrected ratio and verdict."""
    counts = [side.sample.counts() for side in sides]
    posteriors = [AuditPosterior.of(side) for side in counts]
    real, generated = (
        _side(side, posterior) for side, posterior in zip(sides, posteriors, strict=True)
    )
    interval = audited_interval(*posteriors, level=level)
    verdict = verdict_of(interval, alike=row.size in ("alike", None))
    needed = None
    if verdict == "undecided" and (factor := labels_to_decide(*counts, level=level)) is not None:
        labelled = max(int(side.sample.labelled.sum()) for side in sides)
        needed = math.ceil(labelled * factor / 10.0) * 10
    below = posteriors[0].ratio_below(posteriors[1], 0.0)
    return dataclasses.replace(
        row,
        verdict=verdict,
        verdict_at_half=verdict,
        verdict_at_twice=verdict,
        depends_on_threshold=False,
        undecided_by="audit" if verdict == "undecided" else None,
        tested=True,
        statistic="presence",
        real_presence=real.presence,
        generated_presence=generated.presence,
        real_presence_interval=real.presence_interval,
        generated_presence_interval=generated.presence_interval,
        ratio=generated.presence / real.presence if real.presence > 0 else None,
        interval=(interval[0], interval[1] if math.isfinite(interval[1]) else None),
        p_value=min(2.0 * min(below, 1.0 - below), 1.0),
        p_omitted=1.0 - posteriors[0].ratio_below(posteriors[1], math.log(OMITTED_BELOW)),
        p_holm=None,
        p_bh=None,
        smallest_detectable_drop=None,
        audit=ClassAudit(
            labellers=labels.labellers,
            compared=labels.compared,
            agreement=labels.agreement,
            real=real,
            generated=generated,
            labels_needed=needed,
            segmenter=SegmenterSaid(**{name: getattr(row, name) for name in _SAID}),
        ),
    )


def _side(of: _Sample, posterior: AuditPosterior) -> AuditedSide:
    """What the labels say of one side."""
    sample = of.sample
    strata = strata_of(sample.fraction, sample.threshold)
    present = sample.labels == 1.0
    sensitivity = sample.rate_of_calls(present=True)
    false_alarms = sample.rate_of_calls(present=False)
    low, high = posterior.presence_interval(_LEVEL)
    presence = sample.presence()
    return AuditedSide(
        strata=tuple(
            AuditedStratum(
                says=name,
                images=int((strata == k).sum()),
                labelled=int((sample.labelled & (strata == k)).sum()),
                present=int((present & (strata == k)).sum()),
            )
            for k, name in enumerate(STRATA)
        ),
        unsure=of.unsure,
        presence=presence,
        presence_interval=(min(low, presence) if present.any() else 0.0, max(high, presence)),
        sensitivity=sensitivity,
        sensitivity_interval=_known(sensitivity, posterior.sensitivity_interval(_LEVEL)),
        false_alarms=false_alarms,
        false_alarms_interval=_known(false_alarms, posterior.false_alarms_interval(_LEVEL)),
        missed=named_images(of.side, np.flatnonzero(present & ~sample.called).tolist()),
        invented=named_images(
            of.side, np.flatnonzero((sample.labels == 0.0) & sample.called).tolist()
        ),
    )


def _known(value: float | None, interval: tuple[float, float]) -> Interval:
    """The interval, which holds the value; none where there is no value."""
    if value is None:
        return None, None
    return min(interval[0], value), max(interval[1], value)
