"""The throughput bench: both ways see the same images, and their labels are compared."""

import json
import zlib

import pytest

from unseen.bench.throughput import Throughput, measure, prepared_batches, table
from unseen.core.errors import ImageError


def test_the_report_says_what_ran_and_how_labels_differ():
    task = Throughput(
        segmenter="churchyard",
        images="churchyard?seed=1",
        count=3,
        rounds=1,
        precisions=("fp32",),
        workers=0,
    )
    result = measure(task)
    assert json.loads(json.dumps(result)) == result
    plain, fp32 = result["measured"]
    assert (plain["way"], plain["differing"], plain["ratio"]) == ("plain", None, None)
    # the segmenter is its own plain way, and gives no scores
    assert (fp32["way"], fp32["differing"], fp32["widest_margin"]) == ("fp32", 0.0, None)
    assert table(result).count("\n") == 3


def test_whatever_a_source_raises_names_the_image():
    class Raising:
        spec, names, endless = "mine", ["a.png"], False

        def read(self, index):
            raise zlib.error("damaged")

        def fingerprint(self):
            return "0"

    with pytest.raises(ImageError, match=r"a\.png"):
        list(prepared_batches(Raising(), [0], 8))
