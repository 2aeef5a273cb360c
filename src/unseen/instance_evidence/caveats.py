"""Sentences that a reader of the evidence must know. No images, no files, no numbers of its own."""

from collections.abc import Iterator, Mapping, Sequence

from unseen.core.wording import count, listed, share
from unseen.images import Preparation
from unseen.instance_evidence.pairs import IN_RANGE, Collection
from unseen.instance_evidence.record import (
    CONTROL_PASSES,
    REFERENCE,
    ClassEvidence,
    Method,
    Picture,
    Side,
)
from unseen.statistics.noise_typicality import ATYPICAL_BELOW

_FEW = 20  # photographs
_SHOWN = 4  # names in a sentence

Sizes = Mapping[str, set[tuple[int, int]]]


def caveats(
    collection: Collection,
    primary: Method,
    classes: Sequence[ClassEvidence],
    pictures: Sequence[Picture],
    *,
    sizes: Sizes,
    preparation: Preparation,
    selected: bool,
    true_label_maps: bool,
    controls_retain: Sequence[float],
    failed: Sequence[str],
) -> tuple[str, ...]:
    """What limits the evidence, the gravest first.

    Args:
        collection: what was looked at.
        primary: the method that verdicts are about.
        classes: of the photographs.
        pictures: all of them.
        sizes: role, or method → native heights and widths.
        preparation: how images became the squares that were segmented.
        selected: whether photographs were chosen by class.
        true_label_maps: whether instances of photographs are those of exact label maps.
        controls_retain: what the primary method retains of the controls' instances, 0 to 1.
        failed: names of images that it did not reconstruct.
    """
    if collection.controls is None:
        sentences = [
            "There are no controls: what vanished may be what this tool cannot rebuild, and not "
            "what the generator cannot draw. Scenes and classes are ranked by what was lost, and "
            "no class has a verdict. Give the generator's own images and their reconstructions "
            "by the same tool."
        ]
    else:
        sentences = [
            *_about_search(controls_retain),
            *_about_methods(collection, primary),
            *_about_choice(collection, collection.controls, selected),
            *_about_typicality(collection, pictures),
        ]
    sentences += _about_photographs(collection)
    sentences += _about_sizes(collection, sizes, preparation)
    sentences += _about_missing(failed, classes)
    if true_label_maps:
        sentences.append(
            "The instances of photographs come from the exact label maps. Pixels that the "
            "segmenter misses in the photograph are left out. Reconstructions and controls are "
            "segmented."
        )
    return tuple(sentences)


def _about_search(controls_retain: Sequence[float]) -> Iterator[str]:
    mean = sum(controls_retain) / max(1, len(controls_retain))
    if controls_retain and mean < CONTROL_PASSES:
        yield (
            f"Even of the generator's own images only {100 * mean:.0f} % of the pixels of an "
            "instance are retained on average: the search, not the generator, may be what loses "
            "things. Verdicts compare with matched controls, which share that fault."
        )


def _about_methods(collection: Collection, primary: Method) -> Iterator[str]:
    methods = collection.methods
    if primary.method == "nearest":
        yield (
            f"Verdicts are about what the generator draws ({primary.label}). A class that appears "
            'in fewer than one of so many samples is also reported as "cannot draw".'
        )
        if all(method.key != REFERENCE for method in methods):
            yield (
                "The source holds fewer other photographs than there are samples. Without them "
                "nobody can say what a perfect generator would keep, and no class is called "
                '"cannot draw". Ask for fewer samples.'
            )
    bounds = [method for method in methods if method.method in IN_RANGE]
    for method in bounds:
        if not method.in_range:
            yield (
                f"The noise that method {method.method} finds is unlike noise that is drawn for "
                f"{share(method.atypical_noise or 0)} of the photographs (p < {ATYPICAL_BELOW}). "
                "From such noise a sampler rebuilds images that the generator does not draw, so "
                'what this method keeps makes no class "can draw".'
            )
    if not bounds:
        yield (
            "No method whose reconstructions are images of the generator (d, e) was run, so "
            'no class can be called "can draw".'
        )


def _about_choice(collection: Collection, controls: Side, selected: bool) -> Iterator[str]:
    if not selected and collection.methods[0].method == "given":
        yield (
            "Photographs and controls were given, not chosen here: the test assumes that both "
            "were chosen by one rule. Photographs picked by hand for what they lost prove "
            "nothing."
        )
    if selected and not controls.provenance.get("selection"):
        yield (
            "The photographs are those that hold most of a class, and the controls were not "
            "chosen so: what is chosen for its size is retained better or worse than what is "
            "not, and only matching makes up for it."
        )


def _about_typicality(collection: Collection, pictures: Sequence[Picture]) -> Iterator[str]:
    atypical = sum(
        picture.typicality is not None and picture.typicality.atypical for picture in pictures
    )
    if atypical:
        yield (
            f"{atypical} of {count(collection.photographs.images, 'photograph')} lose more than "
            "nearly all of the generator's own images: they are atypical. That does not say what "
            "the generator cannot draw."
        )


def _about_photographs(collection: Collection) -> Iterator[str]:
    images = collection.photographs.images
    if images < _FEW:
        yield (
            f"{count(images, 'photograph')} {'is' if images == 1 else 'are'} few: a mean "
            "retention is known no better than its interval says."
        )


def _about_missing(failed: Sequence[str], classes: Sequence[ClassEvidence]) -> Iterator[str]:
    if failed:
        yield (
            f"{count(len(failed), 'image')} {'was' if len(failed) == 1 else 'were'} not "
            f"reconstructed ({listed(failed, _SHOWN)}) and left out of every number."
        )
    untested = [row.name for row in classes if row.verdict == "untested"]
    if untested:
        single = len(untested) == 1
        yield (
            f"{count(len(untested), 'class')} {'is' if single else 'are'} in too few photographs "
            f"to test ({listed(untested, _SHOWN)}). Without a verdict "
            f"{'it is' if single else 'they are'} not cleared."
        )


def _about_sizes(collection: Collection, sizes: Sizes, preparation: Preparation) -> Iterator[str]:
    """What was resized, where images and reconstructions come in different sizes."""
    methods = set().union(*(sizes.get(method.key, set()) for method in collection.methods))
    images = sizes.get("photograph", set()) | sizes.get("control", set())
    if images == methods and len(images) == 1:
        return
    fitted = "the centre squares compared"
    if preparation.fit == "squash":
        fitted = "the whole frames compared, squashed into squares"
    yield (
        f"Images are {_sizes(images)} and reconstructions {_sizes(methods)} pixels: of every pair "
        "the shorter sides were made equal (the smaller one's, at most the segmenter's "
        f"{preparation.resolution}), and {fitted}. Pairs that were cropped otherwise "
        "do not lie on each other, and lose what is not lost."
    )


def _sizes(sizes: set[tuple[int, int]]) -> str:
    if len(sizes) > 3:
        return f"of {len(sizes)} sizes"
    return ", ".join(f"{height}×{width}" for height, width in sorted(sizes))
