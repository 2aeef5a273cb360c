"""Evidence in words: what verdicts mean, shares that were retained, what became of a class."""

from collections.abc import Mapping

from unseen.core.verdicts import InstanceVerdict
from unseen.core.wording import capitalised, count, p_value, sentence, share, share_interval
from unseen.distribution.areas import class_name
from unseen.instance_evidence.record import ClassEvidence, Mean, Method, Rules, Typicality


def evidence_meanings(rules: Rules, *, mosaic: bool = False) -> dict[InstanceVerdict, str]:
    """What the verdicts of instance evidence mean under these rules, the gravest first.

    Args:
        rules: the record's.
        mosaic: verdicts are about a mosaic of samples.
    """
    beside = "of things of other classes like it in the photographs"
    if mosaic:
        beside = f"less than {share(rules.fifth)} of what as many other photographs retain of it"
    return {
        "cannot draw": "the reconstructions retain significantly less of it than of matched "
        "regions of the generator's own images, and on average less than "
        f"{share(rules.half)} of what they retain of these, and {beside}",
        "undecided": "these photographs and controls cannot tell",
        "can draw": "a reconstruction that is an image of the generator retains it",
        "untested": f"in fewer than {rules.least_images} photographs",
    }


def mean_share(mean: Mean) -> str:
    """A mean retention with its interval."""
    if mean.mean is None:
        return "–"
    if mean.interval[0] is None:
        return share(mean.mean)
    return f"{share(mean.mean)} [{share_interval(mean.interval)}]"


def shares(parts: Mapping[str, float], most: int = 3) -> str:
    """The largest parts of a whole: "sky 75 %, tree 20 %"."""
    largest = sorted(parts.items(), key=lambda part: -part[1])[:most]
    return ", ".join(f"{class_name(name)} {share(part)}" for name, part in largest if part > 0)


def bound(method: Method) -> str:
    """Which way a method errs about what the generator can draw, or nothing."""
    if method.in_range:
        return "lower bound"
    return {"f": "upper bound", "nearest": "what it draws"}.get(method.method, "")


def class_in_photographs(row: ClassEvidence) -> str:
    """What instance evidence says of a class, in one or two sentences."""
    held = f"{count(row.instances, 'instance')} in {count(row.images, 'photograph')}"
    said = f"{held}, of which {row.vanished:,} vanished."
    return f"{said} {capitalised(row.verdict or 'no verdict')}: {sentence(row.reason)}"


def atypical(found: Typicality) -> str:
    """A photograph's place among the generator's own images; never that a class cannot be drawn."""
    what = "loss" if found.statistic == "loss" else "error"
    said = f"{what} of rank {found.rank} of {found.of}, counted with the controls"
    return f"{said}: atypical (p {p_value(found.p_value)})" if found.atypical else said
