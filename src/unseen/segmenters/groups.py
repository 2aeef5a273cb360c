"""`groups:FILE`: regions by an embedding, in groups that `unseen discover` has learnt.

A group is a class like any other: its label map says where it lies in an image. Learning needs
scikit-learn, using learnt groups does not.
Sources: k-means on batches: Sculley, WWW 2010; what is far from all that is familiar is learnt
apart: a coreset by distance (Bachem, Lucic and Krause, KDD 2018).
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from jaxtyping import Float32, Int64, Integer, UInt8

from unseen.core.errors import CheckpointError, SampleError, SegmenterError, missing_package
from unseen.core.files import as_path, canonical_json, sha256_of_file, write_aside
from unseen.core.registry import Spec, takes
from unseen.segmenters.checks import class_names
from unseen.segmenters.embedding import Embedding, Patches, load_embedding
from unseen.segmenters.protocol import Precision
from unseen.weights.checkpoints import open_checkpoint

GROUPS_FILE = "groups.safetensors"
NONE = "none"  # the class of what is familiar
_DIMENSIONS = 24  # principal components that patches are compared by
_FAMILIAR = 300  # kinds of patches of the generated images
_PATCHES = 60  # of an image, from which the familiar kinds are learnt
_STRANGE = 0.01  # share of the real patches, farthest from all that is familiar, that is grouped
_FORMAT = "1"


@dataclasses.dataclass(frozen=True, eq=False)
class Groups:
    """Learnt groups.

    Attributes:
        mean: of the patches' features.
        axes: principal components, a row each.
        centres: of the groups, in principal components.
        familiar: centres of the kinds of patches that generated images have.
    """

    mean: Float32[np.ndarray, " c"]
    axes: Float32[np.ndarray, "d c"]
    centres: Float32[np.ndarray, "g d"]
    familiar: Float32[np.ndarray, "f d"]

    def labels(self, patches: Patches) -> Int64[np.ndarray, "n h w"]:
        """The group of every patch, from 1; 0 for what is nearer to something familiar."""
        centres = np.concatenate([self.familiar, self.centres])
        nearest, _ = _nearest(_projected(patches, self.mean, self.axes), centres)
        groups: np.ndarray = np.maximum(nearest - len(self.familiar) + 1, 0)
        return groups.reshape(patches.shape[:3])


def learn_groups(
    real: Iterable[Patches], generated: Iterable[Patches], *, groups: int = 40, seed: int = 0
) -> Groups:
    """Group the patches of real images that are unlike those of the generated ones.

    First k-means finds what is familiar in the generated images. Of the real patches, those that
    are farthest from it are grouped by k-means of their own. That real images hold a group which
    generated ones lack is no finding yet, since chance makes such groups, too: count them in images
    that played no part here.

    Args:
        real: patches of real images, a batch at a time.
        generated: patches of generated images.
        groups: how many groups.
        seed: of the choice of patches and of k-means.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        SampleError: fewer patches than groups.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.decomposition import PCA
    except ImportError as error:
        raise missing_package("unseen discover", "scikit-learn") from error
    rng = np.random.default_rng(seed)
    sample = np.concatenate([_some(batch, rng) for batch in generated])
    if len(sample) < 2 * _FAMILIAR:
        raise SampleError(
            f"{len(sample):,} patches of generated images are too few to learn {_FAMILIAR} kinds "
            "from; give more images by -n"
        )
    reduced = PCA(min(_DIMENSIONS, sample.shape[1]), random_state=seed).fit(sample)
    mean, axes = _single(reduced.mean_), _single(reduced.components_)
    settings: dict[str, Any] = {"batch_size": 4096, "random_state": seed}
    kinds = MiniBatchKMeans(_FAMILIAR, n_init=1, max_iter=20, **settings)
    familiar = _single(kinds.fit((sample - mean) @ axes.T).cluster_centers_)
    projected = [_projected(batch, mean, axes) for batch in real]
    away = [_nearest(batch, familiar)[1] for batch in projected]
    farthest = np.quantile(np.concatenate(away), 1.0 - _STRANGE)
    strange = np.concatenate(
        [batch[far > farthest] for batch, far in zip(projected, away, strict=True)]
    )
    if len(strange) < groups:
        raise SampleError(
            f"{len(strange)} patches of real images are too few for {groups} groups; give more "
            "images by -n, or fewer groups"
        )
    apart = MiniBatchKMeans(groups, n_init=3, max_iter=50, **settings).fit(strange)
    return Groups(mean, axes, _single(apart.cluster_centers_), familiar)


def _single(values: Any) -> Float32[np.ndarray, "..."]:
    return np.asarray(values, np.float32)


def _some(batch: Patches, rng: np.random.Generator) -> Float32[np.ndarray, "m c"]:
    """A few patches of every image."""
    flat = batch.reshape(len(batch), -1, batch.shape[3])
    chosen = [rng.permutation(flat.shape[1])[:_PATCHES] for _ in batch]
    return np.concatenate([image[rows] for image, rows in zip(flat, chosen, strict=True)])


def _projected(
    patches: Patches, mean: Float32[np.ndarray, " c"], axes: Float32[np.ndarray, "d c"]
) -> Float32[np.ndarray, "m d"]:
    return np.asarray((patches.reshape(-1, patches.shape[3]) - mean) @ axes.T, np.float32)


def _nearest(
    points: Float32[np.ndarray, "m d"], centres: Float32[np.ndarray, "k d"]
) -> tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, " m"]]:
    """The nearest centre of every point, and its squared distance."""
    nearest, away = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    for start in range(0, len(points), 4096):  # bounds the memory of the distances
        part = points[start : start + 4096]
        distance = (centres**2).sum(axis=1) - 2.0 * part @ centres.T
        best = distance.argmin(axis=1)
        nearest[start : start + 4096] = best
        least = distance[np.arange(len(part)), best] + (part**2).sum(axis=1)
        away[start : start + 4096] = least
    return nearest, away


class GroupSegmenter:
    """Labels by learnt groups, of one channel, "object".

    Args:
        embedding: by which the groups were learnt.
        groups: the groups.
        provenance: what decides the labels.
        chosen: group, from 1, → its class name; the others are "none". None: all, as "group 7".
    """

    def __init__(
        self,
        embedding: Embedding,
        groups: Groups,
        *,
        provenance: Mapping[str, Any],
        chosen: Mapping[int, str] | None = None,
    ) -> None:
        number = len(groups.centres)
        if chosen is None:
            chosen = {group: f"group {group}" for group in range(1, number + 1)}
        for group in chosen:
            if not 1 <= group <= number:
                raise SegmenterError(f"there is no group {group}; the groups are 1 to {number}")
        self._embedding, self._groups = embedding, groups
        self._label = np.zeros(number + 1, np.int32)
        self._label[list(chosen)] = np.arange(1, len(chosen) + 1)
        self.channels: Mapping[str, tuple[str, ...]] = {"object": (NONE, *chosen.values())}
        self.resolution = embedding.resolution
        self.provenance = provenance

    def label_maps(
        self, images: UInt8[np.ndarray, "n 3 h w"], channel: str = "object"
    ) -> Integer[np.ndarray, "n h2 w2"]:
        """The group of every patch: a label a patch."""
        class_names(self, channel)
        labels: np.ndarray = self._label[self._groups.labels(self._embedding.patches(images))]
        return labels


def save_groups(path: Path, groups: Groups, about: Mapping[str, Any]) -> None:
    """Write groups and what they were learnt of.

    Raises:
        StorageError: the place cannot be written.
    """
    arrays = {field.name: getattr(groups, field.name) for field in dataclasses.fields(groups)}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    notes = {"format": _FORMAT, "about": canonical_json(dict(about))}
    with write_aside(path) as aside:
        safetensors.numpy.save_file(arrays, aside, metadata=notes)
        aside.chmod(0o644)  # safetensors leaves a file that only its owner may read


def read_groups(path: Path) -> tuple[Groups, dict[str, Any]]:
    """Groups of a file, and what they were learnt of.

    Raises:
        CheckpointError: the file is missing, or holds no groups.
    """
    checkpoint = open_checkpoint(path)
    try:
        arrays = {name: value.numpy() for name, value in checkpoint.tensors.items()}
        groups, about = Groups(**arrays), json.loads(checkpoint.notes["about"])
        shapes = groups.axes.shape, groups.centres.shape[1], groups.familiar.shape[1]
        fits = shapes == ((shapes[1], len(groups.mean)), shapes[1], shapes[1])
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} holds no groups; `unseen discover` writes them") from error
    if not fits or checkpoint.notes.get("format") != _FORMAT:
        raise CheckpointError(f"{path} holds groups of another form; learn them again")
    return groups, about


@takes("classes")
def load_groups(spec: Spec, *, device: str, precision: Precision) -> GroupSegmenter:
    """The plug-in's factory: `groups:FILE?classes=7=red balloon,12`.

    Option `classes`: the groups that are classes, by number, each with a name if wanted. What is
    in no class is "none". Without it every group is a class.

    Raises:
        SegmenterError: no such group, or a precision other than fp32.
        CheckpointError: the file holds no groups.
        UnseenError: the embedding cannot be loaded.
    """
    path = as_path(spec.require_argument("file"))
    if precision != "fp32":
        raise SegmenterError(f"{spec.text} computes in fp32 alone; leave --precision out")
    groups, about = read_groups(path)
    embedding = load_embedding(about["embedding"], device=device)
    if dict(embedding.provenance) != about["embedding_provenance"]:
        raise CheckpointError(
            f"{path} was learnt by other weights of {about['embedding']} than are here; put those "
            "back, or learn the groups again"
        )
    chosen = None if "classes" not in spec.options else _chosen(spec)
    return GroupSegmenter(
        embedding,
        groups,
        chosen=chosen,
        provenance={
            "spec": spec.text,
            "groups_sha256": sha256_of_file(path),
            "embedding": about["embedding_provenance"],
        },
    )


def _chosen(spec: Spec) -> dict[int, str]:
    chosen = {}
    for part in spec.options["classes"].split(","):
        number, _, name = part.partition("=")
        if not number.strip().isdecimal():
            raise SegmenterError(
                f"{spec.text!r} has the class {part!r}; write classes=7=red balloon,12"
            )
        chosen[int(number)] = name.strip() or f"group {int(number)}"
    return chosen
