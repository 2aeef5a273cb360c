"""Find what no list of classes names: learn groups of regions, then count them in other images.

Groups are learnt of one half of the images of either side, and compared in the other half as
classes are. Of real images that hold a group the record names those that hold most of it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import UInt8

from unseen.core.errors import RecordError, SampleError, SpecError
from unseen.core.files import as_path, canonical_json, check_writable, sha256_of_parts
from unseen.core.options import (
    SEED_MOST,
    Argument,
    Device,
    Labels,
    Option,
    Overwrite,
    SkipBroken,
    Workers,
    check_options,
)
from unseen.core.progress import Progress, Watch, silent, watch_in_notebook
from unseen.distribution.comparison import Comparison
from unseen.distribution.comparison_run import ComparisonRun, run_comparison
from unseen.distribution.discovery import FILE, RECORD_FILE, Discovery, RareGroup, discovery_of
from unseen.distribution.segment import BatchSize, default_segmenter
from unseen.generators.drawn_images import DrawnImages
from unseen.generators.sources import Drawing
from unseen.images import ImageSource, Preparation, batches
from unseen.images.batching import default_workers
from unseen.images.preparation import Fit
from unseen.images.protocol import conditions_of, subset
from unseen.images.record_pictures import read_label_map, read_picture
from unseen.segmenters.embedding import Embedding, Patches, load_embedding
from unseen.segmenters.groups import (
    GROUPS_FILE,
    Groups,
    GroupSegmenter,
    learn_groups,
    read_groups,
    save_groups,
)

_OTHER_SEED = 1  # added to a generator's: images that groups are learnt of are no tested ones
_SUGGESTED = 3  # words named for a group
_MARGIN = 0.5  # of a region's side, kept around it for the words


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscoveryRun(Drawing):
    """What to look through, and by which features.

    >>> DiscoveryRun(real="photos/", generated="fakes/").groups
    40
    """

    real: Annotated[str, Argument("The real images: a folder, an archive or the spec of images.")]
    generated: Annotated[
        str, Argument("The generated images, or the spec of a generator that draws them.")
    ]
    out: Annotated[Path, Option("Folder for the record, the groups and the page.", short="-o")] = (
        Path("discovery")
    )
    labels: Labels = None
    embedding: Annotated[
        str | None,
        Option(
            "What tells regions apart: hf:MODEL_OR_FOLDER of a vision model (DINOv2, CLIP), or "
            "the spec of a segmenter. Default: the features of the segmenter that compare takes.",
            metavar="SPEC",
        ),
    ] = None
    words: Annotated[
        Path | None,
        Option(
            "File with a word a line. Those nearest to a group are suggested as its name; needs "
            "an embedding with a text tower (CLIP).",
            metavar="FILE",
        ),
    ] = None
    groups: Annotated[int, Option("How many groups are learnt.", min=2, max=1000)] = 40
    count: Annotated[
        int | None,
        Option(
            "Images on each side, half of them to learn from. A generator needs it. Default: all.",
            short="-n",
            min=8,
        ),
    ] = None
    seed: Annotated[int, Option("Seed of halves, groups and resampling.", max=SEED_MOST)] = 0
    fit: Fit = "crop"
    device: Device = "auto"
    batch_size: BatchSize = 16
    workers: Workers = None
    skip_broken: SkipBroken = False
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        check_options(self)


@dataclasses.dataclass(frozen=True)
class _Part:
    """Some of the images of a set, as a set of their own."""

    source: ImageSource
    indices: Sequence[int]

    endless = False

    @property
    def spec(self) -> str:
        return self.source.spec

    @property
    def names(self) -> Sequence[str]:
        return [self.source.names[index] for index in self.indices]

    @property
    def in_memory(self) -> bool:
        return bool(getattr(self.source, "in_memory", False))

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        return self.source.read(self.indices[index])

    def conditions(self, indices: Sequence[int]) -> Sequence[str] | None:
        return conditions_of(self.source, [self.indices[index] for index in indices])

    def fingerprint(self) -> str:
        return sha256_of_parts([self.source.fingerprint(), canonical_json(list(self.indices))])


def discover(task: DiscoveryRun, *, watch: Watch | None = None) -> tuple[Discovery, Comparison]:
    """Learn groups of regions of one half, and count them in the other half.

    Writes `discovery.json`, `groups.safetensors`, and the comparison of all groups with pictures.

    Args:
        task: what to look through.
        watch: gives the progress of every pass over images; None: a bar in a notebook.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        SampleError: too few images to learn of.
        SpecError: words, and no embedding that reads them.
        RecordError: other groups lie in the folder.
        UnseenError: as `compare`.
    """
    watch = watch or watch_in_notebook
    check_writable(task.out / FILE)
    sources = [
        task.open(side, task.device, skip_broken=task.skip_broken)
        for side in (task.real, task.generated)
    ]
    learn, test = zip(*(_halves(source, task) for source in sources), strict=True)
    spec = task.embedding or default_segmenter(*sources)
    embedding = load_embedding(spec, device=task.device)
    words = _words(task, embedding)
    about = {
        "embedding": spec,
        "embedding_provenance": embedding.provenance,
        "learnt_of": [part.fingerprint() for part, _ in learn],
        "images": [number for _, number in learn],
        "groups": task.groups,
        "seed": task.seed,
        "fit": task.fit,
    }
    path = task.out / GROUPS_FILE
    groups = _kept(path, about, overwrite=task.overwrite)
    if groups is None:
        groups = _learn(task, embedding, learn, watch)
        save_groups(path, groups, about)
    comparison = run_comparison(
        _comparison(task, *test[1]),
        watch=watch,
        sides=[part for part, _ in test],
        segmenter=GroupSegmenter(
            embedding,
            groups,
            provenance={"groups": sha256_of_parts([canonical_json(about)]), "embedding": spec},
        ),
    )
    found = discovery_of(
        comparison,
        learnt_of=(learn[0][1], learn[1][1]),
        embedding=embedding.provenance,
        groups=GROUPS_FILE,
    )
    if words:
        rare = tuple(_named(group, comparison, embedding, words) for group in found.rare)
        found = dataclasses.replace(found, rare=rare)
    RECORD_FILE.write(task.out / FILE, found)
    return found, comparison


def _halves(
    source: ImageSource, task: DiscoveryRun
) -> tuple[tuple[ImageSource, int], tuple[ImageSource, int]]:
    """Images to learn of and images to test, each with their number."""
    if isinstance(source, DrawnImages):
        if task.count is None:
            raise SampleError(f"{source.spec} draws without end; say how many images by -n")
        half = task.count // 2
        other = dataclasses.replace(source, seed=source.seed + _OTHER_SEED, keep=None)
        return (other, half), (source, task.count - half)
    chosen = subset(source, task.count, task.seed)
    if task.count is None:
        chosen = [chosen[i] for i in np.random.default_rng(task.seed).permutation(len(chosen))]
    half = len(chosen) // 2
    if half < 4:
        raise SampleError(f"{source.spec} has {len(chosen)} images; groups need at least 8")
    return (_Part(source, chosen[:half]), half), (
        _Part(source, chosen[half:]),
        len(chosen) - half,
    )


def _comparison(task: DiscoveryRun, generated: ImageSource, number: int) -> ComparisonRun:
    """The comparison of the halves that are tested; of a generator so many images are drawn."""
    count = number if isinstance(generated, DrawnImages) else None
    shared = {field.name for field in dataclasses.fields(Drawing)}
    shared |= {"out", "labels", "seed", "fit", "device", "batch_size", "workers", "skip_broken"}
    shared |= {"overwrite", "real"}
    options: dict[str, Any] = {name: getattr(task, name) for name in sorted(shared)}
    options |= {"generated": (task.generated,), "presence_threshold": "region"}
    return ComparisonRun(count=count, **options)


def _kept(path: Path, about: dict[str, Any], *, overwrite: bool) -> Groups | None:
    """The groups that an earlier run learnt of the same images."""
    if not path.is_file():
        return None
    groups, theirs = read_groups(path)
    if canonical_json(theirs) == canonical_json(about):
        return groups
    if not overwrite:
        raise RecordError(
            f"{path} was learnt of other images or settings; name another --out, or --overwrite"
        )
    return None


def _learn(
    task: DiscoveryRun,
    embedding: Embedding,
    learn: Sequence[tuple[ImageSource, int]],
    watch: Watch,
) -> Groups:
    """Groups of the halves that are learnt of, in one pass over either."""

    def patches(source: ImageSource, number: int, progress: Progress) -> Iterator[Patches]:
        stream = batches(
            source,
            range(number),
            Preparation(embedding.resolution, None, task.fit),
            batch_size=task.batch_size,
            workers=default_workers() if task.workers is None else task.workers,
            skip_broken=task.skip_broken,
        )
        done = 0
        for batch in stream:
            done += len(batch.images) + len(batch.broken)
            progress(done, number)
            if len(batch.images):
                yield embedding.patches(batch.images)

    with (
        watch(f"{task.real}, to learn") as real,
        watch(f"{task.generated}, to learn") as generated,
    ):
        return learn_groups(
            patches(*learn[0], real or silent),
            patches(*learn[1], generated or silent),
            groups=task.groups,
            seed=task.seed,
        )


def _words(task: DiscoveryRun, embedding: Embedding) -> list[str]:
    """The words that may name a group."""
    if task.words is None:
        return []
    if not getattr(embedding, "reads_text", False):
        raise SpecError(
            "--words needs an embedding with a text tower; name one, such as "
            "--embedding hf:openai/clip-vit-base-patch32"
        )
    try:
        lines = as_path(task.words).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise SpecError(f"{task.words} cannot be read as a list of words ({error})") from error
    words = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not words:
        raise SpecError(f"{task.words} holds no word; write one a line")
    return words


def _named(
    group: RareGroup, comparison: Comparison, embedding: Any, words: Sequence[str]
) -> RareGroup:
    """The group with the words that are nearest to its regions in the real images."""
    folder, label = comparison.folder, comparison.columns.index(group.column)
    regions = [
        _region(
            np.moveaxis(read_picture(folder, kept.image), 0, -1),
            read_label_map(folder, kept.label_map, len(comparison.columns)) == label,
        )
        for kept in group.real_images
        if folder is not None and kept.image is not None and kept.label_map is not None
    ]
    if not regions:
        return group
    alike = embedding.likeness(regions, words).mean(axis=0)
    nearest = np.argsort(-alike, kind="stable")[:_SUGGESTED]
    return dataclasses.replace(group, suggested=tuple(words[i] for i in nearest))


def _region(picture: UInt8[np.ndarray, "h w 3"], held: np.ndarray) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The part of a picture around the pixels that hold the group."""
    ends = []
    for axis in (0, 1):
        places = np.flatnonzero(held.any(axis=1 - axis)) / held.shape[axis]
        low, high = places.min(), places.max() + 1.0 / held.shape[axis]
        margin = _MARGIN * (high - low)
        side = picture.shape[axis]
        ends.append(
            slice(int(max(low - margin, 0.0) * side), int(np.ceil(min(high + margin, 1.0) * side)))
        )
    return np.ascontiguousarray(picture[tuple(ends)])
