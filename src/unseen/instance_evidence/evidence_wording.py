"""Evidence in words: what verdicts mean, shares that were retained, what became of a class."""

from collections.abc import Mapping

from unseen.core.verdicts import Against, InstanceVerdict
from unseen.core.wording import capitalised, count, p_value, sentence, share, share_interval
from unseen.distribution.areas import class_name
from unseen.instance_evidence.record import (
    CONTROL_PASSES,
    ClassEvidence,
    ClassRatio,
    Evidence,
    Mean,
    Method,
    Rules,
    Typicality,
    earliest_passing,
    runs_by_depth,
)


def evidence_meanings(rules: Rules, *, mosaic: bool = False) -> dict[InstanceVerdict, str]:
    """What the verdicts of instance evidence mean under these rules, the gravest first.

    Args:
        rules: the record's.
        mosaic: verdicts are about a mosaic of samples.
    """
    half = share(rules.half)
    beside = (
        "as little beside similar regions of other classes, and beside the class itself in the "
        "generator's own images, where these hold it"
    )
    if mosaic:
        beside = f"less than {share(rules.third)} of what as many other photographs keep of it"
    return {
        "cannot draw": f"the reconstructions keep less than {half} of what they keep of similar "
        f"regions in the generator's own images, and {beside}: not on average alone, but with "
        f"{share(1 - rules.significance)} confidence for all classes together",
        "undecided": "these photographs and controls cannot tell",
        "can draw": "a reconstruction that is certainly an image of the generator keeps more than "
        f"{half} of what is kept of similar regions in the generator's own images, with the same "
        "confidence",
        "untested": f"in fewer than {rules.least_images} photographs",
    }


def mean_share(mean: Mean) -> str:
    """A mean retention with its interval."""
    if mean.mean is None:
        return "–"
    if mean.interval[0] is None:
        return share(mean.mean)
    return f"{share(mean.mean)} [{share_interval(mean.interval)}]"


_BESIDE: Mapping[Against, str] = {
    "controls": "similar regions in the generator's own images",
    "own": "the class in the generator's own images",
    "peers": "similar regions of other classes in the photographs",
    "reference": "the same instances, from as many other photographs",
}


def beside(ratio: ClassRatio) -> str:
    """What a class is compared with."""
    return _BESIDE[ratio.against]


def as_much(ratio: ClassRatio, *, than: str = "", at_least: bool = False) -> str:
    """How much as much is kept of a class: "4 % as much as controls, at most 11 %"."""
    if ratio.ratio is None:
        return "nothing is kept of these"
    low, high = ratio.interval
    if at_least:
        bound = f"at least {share(low)}"
    else:
        bound = "no upper bound" if high is None else f"at most {share(high)}"
    return f"{share(ratio.ratio)} as much{than and f' as {than}'}, {bound}"


def within(ratio: ClassRatio, *, at_least: bool = False) -> str:
    """That the bound lies on the side of the margin that the verdict needs, or that it does not."""
    low, high = ratio.interval
    if at_least:
        shown, side = low is not None and low > ratio.margin, "over"
    else:
        shown, side = high is not None and high < ratio.margin, "under"
    return f"{'' if shown else 'not shown to be '}{side} {share(ratio.margin)}"


def shares(parts: Mapping[str, float], most: int = 3) -> str:
    """The largest parts of a whole: "sky 75 %, tree 20 %"."""
    largest = sorted(parts.items(), key=lambda part: -part[1])[:most]
    return ", ".join(f"{class_name(name)} {share(part)}" for name, part in largest if part > 0)


def bound(method: Method) -> str:
    """Which way a method errs about what the generator can draw, or nothing."""
    if method.in_range:
        return "lower bound"
    return {"f": "upper bound", "nearest": "what it draws"}.get(method.method, "")


def earliest_cut(evidence: Evidence) -> str | None:
    """The earliest cut whose controls pass; None where only one was run, or no controls."""
    runs = runs_by_depth(evidence)
    if len(runs) < 2 or evidence.controls is None:
        return None
    cuts = [run.last_perturbed or "z" for run in runs]
    passing = earliest_passing(evidence)
    passes = f"whose controls retain {share(CONTROL_PASSES)} on average"
    if passing is None:
        return f"none of {', '.join(cuts)} is a cut {passes}"
    return f"{passing.last_perturbed or 'z'} is the earliest of {', '.join(cuts)} {passes}"


def class_in_photographs(row: ClassEvidence) -> str:
    """What instance evidence says of a class, in one or two sentences."""
    held = f"{count(row.instances, 'instance')} in {count(row.images, 'photograph')}"
    said = f"{held}, of which {row.vanished:,} vanished."
    return f"{said} {capitalised(row.verdict or 'no verdict')}: {sentence(row.reason)}"


def typicality_in_words(typicality: Typicality) -> str:
    """How many of the generator's own images were rebuilt worse than a photograph."""
    controls, worse = typicality.of - 1, typicality.rank - 1
    of = f"{'none' if worse == 0 else f'{worse:,}'} of the {count(controls, 'control image')}"
    said = f"{of} {'was' if worse <= 1 else 'were'} rebuilt worse"
    atypical = f"; the photograph is atypical (p {p_value(typicality.p_value)})"
    return capitalised(said) + (atypical if typicality.atypical else "")
