"""The bench of JPEG decoders: all are given the same bytes."""

import json

from unseen.bench.decoding import decoding_table, measure_decoding
from unseen.bench.throughput import Throughput


def test_every_decoder_is_timed_and_compared_with_pillow() -> None:
    task = Throughput(images="churchyard?seed=1", count=1, rounds=1)
    result = measure_decoding(task)
    assert json.loads(json.dumps(result)) == result
    ways = {way["way"]: way for way in result["measured"]}
    for side in ("256²", "1024²"):
        plain = ways[f"{side}, plain (Pillow)"]
        assert plain["ratio"] is None
        assert plain["per_core"] == 1 / plain["cpu_seconds_per_image"]
        # both are libjpeg-turbo with the accurate transform
        assert ways[f"{side}, unseen"]["differing"] == 0.0
    timed = {way.partition(", ")[2] for way in ways}
    assert not timed & set(result["skipped"])
    assert timed | set(result["skipped"]) >= {"unseen", "simplejpeg", "PyTurboJPEG", "torchvision"}
    assert all(way in decoding_table(result) for way in [*ways, *result["skipped"]])
