"""What one would run a model of transformers by: all ways give the labels of the package."""

from pathlib import Path

import pytest
from tests.segmenters.test_hf import save

from unseen.bench import runtimes
from unseen.bench.throughput import Throughput, measure, table


@pytest.mark.parametrize("family", ["Segformer", "Mask2Former", "OneFormer"])
def test_every_way_labels_as_the_package_does(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(runtimes, "_compiled", refused)  # half a minute
    folder = save(family, tmp_path / "model")
    task = Throughput(
        segmenter=f"hf:{folder}",
        images="churchyard?seed=1",
        count=2,
        rounds=1,
        precisions=("fp32",),
        workers=0,
    )
    result = measure(task)
    ways = {way["way"]: way for way in result["measured"]}
    if family == "OneFormer":  # which must be told its task
        assert list(ways) == ["plain", "fp32"]
        assert set(result["skipped"]) >= {"pipeline", "eager"}
    else:
        assert list(ways)[:2] == ["plain", "eager"]
        assert "no such operator" in result["skipped"]["torch.compile"]
    assert "torch.compile" in table(result)
    # the same scores in another order of additions: labels differ at ties alone
    assert all(way["differing"] < 1e-3 for way in ways.values() if way["way"] != "plain")
