"""A small record of evidence for tests of records and pages, with pictures where asked for."""

from pathlib import Path

import numpy as np
from PIL import Image

from unseen.core.verdicts import Against
from unseen.instance_evidence.record import (
    ClassEvidence,
    ClassRatio,
    ClassRetention,
    Evidence,
    Fate,
    Instance,
    Mean,
    Method,
    Picture,
    Rebuilt,
    Role,
    Rules,
    Side,
    Typicality,
    write_evidence,
)
from unseen.inversion.inversions import Selection

SIDE = 16  # pixels of images and label maps
COLUMNS = ("object/none", "object/sky", "object/person")
_METHODS = ("f-layer1", "f-layer2", "d")
_RETAINED = {
    "photograph": {"f-layer1": 0.0, "f-layer2": 0.25, "d": 0.0},
    "control": {"f-layer1": 0.75, "f-layer2": 1.0, "d": 0.5},
}
_BOX = (4, 4, 12, 8)  # of the only instance in every picture: 32 pixels, 12.5 % of the image


def evidence_world(folder: Path | None = None) -> Evidence:
    """Two photographs and three controls, a person each; in the photographs they vanish."""
    pictures = [_picture("photograph", i, folder) for i in range(2)]
    pictures += [_picture("control", i, folder) for i in range(3)]
    instances = [_instance(one.role, one.id, i) for i, one in enumerate(pictures)]
    evidence = Evidence(
        package_version="0.1.0",
        seed=0,
        columns=COLUMNS,
        label_map_size=(SIDE, SIDE),
        rules=Rules(
            least_area=0.005,
            area_factor=2.0,
            perimeter_factor=1.5,
            contrast_within=0.1,
            controls_per_instance=4,
            least_images=5,
            half=0.5,
            third=1 / 3,
            significance=0.05,
            resamples=2000,
            vanished_below=0.5,
            atypical_below=0.05,
        ),
        methods=(
            _method("f-layer1", "f", "layer1", 1),
            _method("f-layer2", "f", "layer2", 2),
            _method("d", "d", None, None),
        ),
        primary="f-layer2",
        reference=None,
        cut_rule="the earliest cut whose controls retain 0.9, on other seeds",
        photographs=Side(label="photos", images=2, provenance={"images": "photos/"}),
        controls=Side(label="the generator's own images", images=3, provenance={}),
        selection=Selection(
            rule="drawn from the fifth that holds most of a class",
            seed=0,
            pool=10,
            chosen={"object/person": ("0.png", "1.png")},
        ),
        classes=(
            ClassEvidence(
                column="object/person",
                verdict="cannot draw",
                reason="method f-layer2 retains 0.25 of it, of its matched controls 1.00",
                instances=2,
                images=2,
                vanished=2,
                area=0.125,
                lost=0.09375,
                lost_share=0.75,
                rank=1,
                retention=tuple(_retention(method) for method in _METHODS),
                peers=Mean(mean=0.8, interval=(0.6, 1.0), instances=6, images=5),
                own=Mean(mean=1.0, interval=(0.8, 1.0), instances=3, images=3),
                ratios=(
                    _ratio("controls", "f-layer2", 0.25, (0.1, 0.4)),
                    _ratio("own", "f-layer2", 0.25, (0.1, 0.45)),
                    _ratio("peers", "f-layer2", 0.31, (0.1, 0.49)),
                    _ratio("controls", "d", 0.0, (0.0, 0.2)),
                ),
                p_value=0.001,
                range_method=None,
            ),
        ),
        pictures=tuple(pictures),
        instances=tuple(instances),
        caveats=("2 photographs are few.",),
        provenance={"generator": {"spec": "progan:toy.pth"}},
    )
    if folder is not None:
        write_evidence(folder / "evidence.json", evidence)
    return evidence


def _method(key: str, method: str, layer: str | None, depth: int | None) -> Method:
    return Method(
        key=key,
        method=method,
        label=f"method {key}",
        cut=layer,
        last_perturbed=layer,
        depth=depth,
        in_range=method != "f",
    )


def _mean(value: float, count: int) -> Mean:
    return Mean(mean=value, interval=(value - 0.05, value + 0.05), instances=count, images=count)


def _retention(method: str) -> ClassRetention:
    photographs = _mean(_RETAINED["photograph"][method], 2)
    return ClassRetention(
        method=method,
        photographs=photographs,
        matched=photographs,
        controls=_mean(_RETAINED["control"][method], 3),
    )


def _ratio(
    against: Against, method: str, ratio: float, interval: tuple[float, float]
) -> ClassRatio:
    return ClassRatio(
        against=against,
        method=method,
        ratio=ratio,
        interval=interval,
        margin=0.5,
        p_value=0.001,
        instances=2,
        groups=2,
        against_groups=3,
    )


def _picture(role: Role, number: int, folder: Path | None) -> Picture:
    """Sky with a person; of a photograph's reconstructions part of the person is sky."""
    label_map = np.ones((SIDE, SIDE), np.uint16)
    top, left, bottom, right = _BOX
    label_map[top:bottom, left:right] = 2
    key = f"{role}-{number:05d}"
    image, labels = f"pictures/{role}/{number:05d}.png", f"pictures/{role}/{number:05d}-labels.png"
    _write(folder, image, labels, label_map)
    rebuilt = []
    for method in _METHODS:
        kept = round((bottom - top) * _RETAINED[role][method])
        found = label_map.copy()
        found[top + kept : bottom, left:right] = 1
        there = f"pictures/{role}-{method}/{number:05d}.png"
        there_labels = f"pictures/{role}-{method}/{number:05d}-labels.png"
        _write(folder, there, there_labels, found)
        rebuilt.append(
            Rebuilt(
                method=method,
                image=there,
                label_map=there_labels,
                pixel_error=0.1,
                loss=0.5,
                loss_terms={"pixel": 0.4, "perceptual": 0.1},
                steps=100,
                failed=None,
            )
        )
    photograph = role == "photograph"
    return Picture(
        id=key,
        role=role,
        name=f"{number}.png",
        image=image,
        label_map=labels,
        true_label_map=None,
        rebuilt=tuple(rebuilt),
        lost=0.125 * (1 - _RETAINED[role]["f-layer2"]),
        weighted_loss=0.75 * 0.09375 if photograph else None,
        vanished=int(photograph),
        vanished_area=0.125 if photograph else 0.0,
        rank=number + 1 if photograph else None,
        typicality=Typicality(statistic="loss", rank=1, of=4, p_value=0.25, atypical=False)
        if photograph
        else None,
    )


def _instance(role: Role, image: str, i: int) -> Instance:
    photograph = role == "photograph"
    return Instance(
        id=f"{image}-00",
        image=image,
        role=role,
        column="object/person",
        box=_BOX,
        area_pixels=32,
        area=0.125,
        perimeter_ratio=24 / (4 * 32**0.5),
        contrast=0.4,
        fates=tuple(
            Fate(
                method=method,
                retention=_RETAINED[role][method],
                iou=_RETAINED[role][method],
                became={"object/sky": 1 - _RETAINED[role][method]},
            )
            for method in _METHODS
        ),
        controls=("control-00001-00", "control-00002-00") if photograph else (),
        rank=i + 1 if photograph else None,
    )


def _write(folder: Path | None, image: str, labels: str, label_map: np.ndarray) -> None:
    if folder is None:
        return
    colours = np.array([[0, 0, 0], [90, 160, 250], [200, 40, 40]], np.uint8)
    for path, picture in ((image, colours[label_map]), (labels, label_map)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / path)
