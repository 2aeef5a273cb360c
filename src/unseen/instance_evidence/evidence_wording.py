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
    half = share(rules.half)
    beside = f"and less than {half} of what they keep of similar regions of other classes"
    if mosaic:
        beside = f"and less than {share(rules.fifth)} of what as many other photographs keep of it"
    return {
        "cannot draw": "the reconstructions keep significantly less of it than of similar regions "
        f"in the generator's own images: on average less than {half} of that, {beside}",
        "undecided": "these photographs and controls cannot tell",
        "can draw": "a reconstruction that is certainly an image of the generator keeps it",
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


def typicality_in_words(typicality: Typicality) -> str:
    """How many of the generator's own images were rebuilt worse than a photograph."""
    controls, worse = typicality.of - 1, typicality.rank - 1
    of = f"{'none' if worse == 0 else f'{worse:,}'} of the {count(controls, 'control image')}"
    said = f"{of} {'was' if worse <= 1 else 'were'} rebuilt worse"
    atypical = f"; the photograph is atypical (p {p_value(typicality.p_value)})"
    return capitalised(said) + (atypical if typicality.atypical else "")
