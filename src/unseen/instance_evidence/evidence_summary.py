"""Instance evidence in a few lines of text, for the terminal."""

import textwrap
from collections.abc import Iterator, Sequence

from unseen.core.verdicts import INSTANCE_VERDICTS
from unseen.core.wording import capitalised, count, listed, percent, printable, sentence, share
from unseen.distribution.areas import class_name
from unseen.instance_evidence.evidence_wording import as_much, earliest_cut, mean_share
from unseen.instance_evidence.record import ClassEvidence, Evidence, Instance, Picture

_MOST_ROWS = 12  # classes, and photographs; the rest is on the page
_MOST_OBJECTS = 3  # that vanished, a photograph
_WIDTH = 100


def evidence_summary(evidence: Evidence) -> str:
    """Verdict counts, the worst classes, the worst photographs, the cut's rule, the caveats."""
    lines = (line for text in _lines(evidence) for line in text.split("\n"))
    return "\n".join(printable(line) for line in lines)


def _lines(evidence: Evidence) -> Iterator[str]:
    controls = evidence.controls
    primary = evidence.primary_method
    by = "" if primary.method == "given" else f", rebuilt by {primary.label}"
    beside = f"; {count(controls.images, 'control')} ({controls.label})" if controls else ""
    photographs = evidence.photographs
    yield f"{count(photographs.images, 'photograph')} ({photographs.label}){by}{beside}"
    yield ""
    mine = [instance for instance in evidence.instances if instance.role == "photograph"]
    vanished = sum(
        picture.vanished for picture in evidence.pictures if picture.role == "photograph"
    )
    yield (
        f"  Vanished     {vanished:,} of {count(len(mine), 'instance')}: they retain less than "
        f"{share(evidence.rules.vanished_below)} of their pixels"
    )
    if controls is not None:
        counts = ((verdict, len(evidence.named(verdict))) for verdict in INSTANCE_VERDICTS)
        yield f"  Verdicts     {', '.join(f'{n} {verdict}' for verdict, n in counts if n)}"
    if evidence.cut_rule is not None:
        rule = sentence(evidence.cut_rule)
        if primary.cut is None:  # a mosaic, or given reconstructions
            yield _filled("Settings", capitalised(rule))
        else:
            yield _filled("Cut", f"{primary.cut}: {rule}")
    if (earliest := earliest_cut(evidence)) is not None:
        capital = capitalised(earliest) if earliest.startswith("none") else earliest
        yield _filled("Controls", sentence(capital))
    yield ""
    yield f"  Classes, {'the gravest' if controls else 'those that lost most'} first"
    yield from _aligned([_class_cells(evidence, row) for row in evidence.classes[:_MOST_ROWS]])
    yield from _more(len(evidence.classes))
    yield ""
    yield "  Photographs, those that lost most first"
    ranked = [picture for picture in evidence.pictures if picture.rank is not None]
    gone = _vanished(evidence)
    yield from _aligned(
        [_picture_cells(picture, gone.get(picture.id, [])) for picture in ranked[:_MOST_ROWS]]
    )
    yield from _more(len(ranked))
    yield ""
    for text in evidence.caveats:
        yield textwrap.fill(
            capitalised(text), _WIDTH, initial_indent="Note: ", subsequent_indent="      "
        )


def _filled(head: str, text: str) -> str:
    """A line of the summary, of as many lines of the terminal as it needs."""
    return textwrap.fill(text, _WIDTH, initial_indent=f"  {head:<13}", subsequent_indent=" " * 15)


def _class_cells(evidence: Evidence, row: ClassEvidence) -> list[str]:
    retained = row.by(evidence.primary)
    cells: list[str] = [] if row.verdict is None else [row.verdict]
    cells += [row.name, f"{mean_share(retained.photographs)} retained"]
    if evidence.controls is not None:
        ratio = row.ratio("controls", evidence.primary)
        cells.append(
            f"controls {mean_share(retained.controls)}"
            if ratio is None
            else as_much(ratio, than="controls")
        )
    held = f"in {count(row.images, 'photograph')}"
    return [*cells, f"{row.vanished} of {row.instances} vanished, {held}"]


def _picture_cells(picture: Picture, gone: Sequence[Instance]) -> list[str]:
    objects = [f"{class_name(instance.column)} {percent(instance.area)}" for instance in gone]
    vanished = f"vanished: {listed(objects, _MOST_OBJECTS)}" if gone else "nothing vanished"
    return [f"{picture.rank}.", picture.name, vanished]


def _vanished(evidence: Evidence) -> dict[str, list[Instance]]:
    """Image → its instances that the primary method lost, by rank."""
    gone: dict[str, list[Instance]] = {}
    for instance in evidence.instances:
        fate = next((fate for fate in instance.fates if fate.method == evidence.primary), None)
        if fate is not None and fate.retention < evidence.rules.vanished_below:
            gone.setdefault(instance.image, []).append(instance)
    return gone


def _more(number: int) -> Iterator[str]:
    if number > _MOST_ROWS:
        yield f"    … and {number - _MOST_ROWS} more on the page"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield f"    {'  '.join(cells)}".rstrip()
