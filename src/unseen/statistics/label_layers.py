"""Label maps of classes that overlap: a stack of layers, where one layer is not enough.

A label map (h, w) holds one class a pixel. Where classes overlap it has as many layers (d, h, w) as
the pixel with the most classes has classes. A pixel's classes stand in the layers from the first on
in ascending order; `NOTHING` fills the rest. So `label_map == k` marks class k in either form, in
some layer, and no class stands twice at a pixel. NumPy alone.
"""

import numpy as np
from jaxtyping import Bool, Int32, Int64, Integer

NOTHING = -1  # where a layer holds no class


def layered(masks: Bool[np.ndarray, "n k h w"]) -> Int32[np.ndarray, "n d h w"]:
    """The layers of masks that may overlap; all images of a batch get equally many, at least one.

    >>> layered(np.array([[[[True, True]], [[False, True]]]])).tolist()
    [[[[0, 0]], [[-1, 1]]]]
    """
    image, label, row, column = masks.nonzero()  # in this order
    counts = masks.sum(axis=1, dtype=np.int32)
    layer = masks.cumsum(axis=1, dtype=np.int32)[image, label, row, column] - 1
    shape = (len(masks), max(1, int(counts.max(initial=0))), *masks.shape[2:])
    layers = np.full(shape, NOTHING, np.int32)
    layers[image, layer, row, column] = label
    return layers


def deepened(
    label_maps: Integer[np.ndarray, "*any layers h w"], layers: int
) -> Integer[np.ndarray, "*any {layers} h w"]:
    """The same with as many layers; those that are added hold nothing."""
    lacking = [(0, 0)] * label_maps.ndim
    lacking[-3] = (0, layers - label_maps.shape[-3])
    return np.pad(label_maps, lacking, constant_values=NOTHING)


def covers(label_map: Integer[np.ndarray, "*layers h w"], label: int) -> Bool[np.ndarray, "h w"]:
    """The pixels of a class."""
    marked: np.ndarray = label_map == label
    if marked.ndim == 3:
        marked = np.logical_or.reduce(marked, axis=0)
    return marked


def pixels_of_classes(
    label_map: Integer[np.ndarray, "*layers h w"], classes: int
) -> Int64[np.ndarray, " {classes}"]:
    """How many pixels each class covers.

    Args:
        label_map: labels from 0 to `classes` − 1.
        classes: how many there are.
    """
    labels = label_map.ravel()
    if label_map.ndim == 3:
        labels = labels[labels != NOTHING]
    return np.bincount(labels, minlength=classes)


def on_top(label_map: Integer[np.ndarray, "*layers h w"]) -> Integer[np.ndarray, "h w"]:
    """The class that is seen where classes lie over each other: that with the fewest pixels.

    So a rider is seen on a horse, and the horse on a meadow. `NOTHING` where there is none.
    """
    if label_map.ndim == 2:
        return label_map
    classes = int(label_map.max(initial=NOTHING)) + 1
    pixels = np.append(pixels_of_classes(label_map, classes), label_map.size + 1)  # of NOTHING
    smallest = pixels[label_map].argmin(axis=0)
    shown: np.ndarray = np.take_along_axis(label_map, smallest[None], axis=0)[0]
    return shown
