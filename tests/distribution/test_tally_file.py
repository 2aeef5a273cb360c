import json

import numpy as np
import pytest

from unseen.core.errors import RecordError
from unseen.distribution import tally_file as tally
from unseen.distribution.tally_file import read_tally


@pytest.fixture
def published(tmp_path, monkeypatch):
    """What the publisher's server would give, with two classes and 4×4 pixels."""
    np.save(tmp_path / "tally.npy", np.array([[0.5, 0.5], [0.25, 0.75]]))
    (tmp_path / "labels.json").write_text(json.dumps({"object": ["-", "wall"]}))
    files = {"tally-church": "tally.npy", "upp/labels.json": "labels.json"}
    monkeypatch.setattr(tally, "fetch", lambda name: tmp_path / files[name])


def test_a_published_tally_comes_by_name_with_its_classes(published):
    areas = read_tally("tally:church?size=4")
    assert areas.columns == ("object/none", "object/wall")
    assert areas.pixels.tolist() == [[8, 8], [4, 12]]
    assert areas.provenance["images"][0]["spec"] == "tally:church?size=4"


def test_a_file_is_read_as_it_is(published, tmp_path):
    assert read_tally(f"tally:{tmp_path / 'tally.npy'}?size=4").columns[0] == "object/0"
    assert len(read_tally(f"tally:{tmp_path / 'tally.npy'}?size=4")) == 2


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(RecordError, match=r"neither a file .* known: church, bedroom"):
        read_tally("tally:kitchen")
