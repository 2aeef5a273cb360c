import json

from unseen.cli.list import plugins
from unseen.cli.main import run


def test_built_in_plug_ins_are_listed_with_their_licence():
    onnx = next(entry for entry in plugins("segmenters") if entry["name"] == "onnx")
    assert onnx["licence"] == "Apache-2.0"
    assert onnx["package"].startswith("unseen ")
    assert onnx["what"]


def test_the_listing_is_there_for_machines_too(capsys):
    assert run(["list", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert set(listing) == {"segmenters", "generators", "images", "weights"}
    assert all(entry["licence"] and entry["source"] for entry in listing["weights"])
    assert run(["list"]) == 0
    assert "folder" in capsys.readouterr().out
