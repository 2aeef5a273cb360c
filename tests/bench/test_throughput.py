"""The throughput bench: both ways see the same images, and their labels are compared."""

import json

from unseen.bench.throughput import Throughput, measure, table


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
