"""Every message in docs/weights.md is one that the code gives, letter by letter."""

import os
import re
from pathlib import Path

import pooch
import pytest
import torch

from unseen.core.errors import UnseenError
from unseen.weights import KNOWN, Published, fetch, read_checkpoint

DOCS = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
MESSAGES = dict(
    re.findall(r"^\| ([^|]+) \| `([^|]+)` \|$", DOCS.partition("## When something")[2], re.M)
)


class _Attack:
    def __reduce__(self):
        return (os.mkdir, ("mark",))


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSEEN_CACHE", "CACHE")
    monkeypatch.delenv("UNSEEN_OFFLINE", raising=False)
    _publish(monkeypatch)


def _publish(monkeypatch, **facts):
    entry = Published(
        name="model", url="http://HOST/model.pth", about="", licence="", source="", **facts
    )
    monkeypatch.setitem(KNOWN, "model", entry)


def _serve(monkeypatch, content=b"", error=None):
    """Put an answer in the place of the network."""

    def download(self, url, file, _):
        file.write(content)
        if error is not None:
            raise error

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", download)


def _a_checkpoint_that_is_not_there(monkeypatch):
    read_checkpoint("a.pth")


def _an_unreadable_checkpoint(monkeypatch):
    Path("a.pth").write_text("<!DOCTYPE html>")
    read_checkpoint("a.pth")


def _a_pickle_that_wants_code(monkeypatch):
    torch.save(_Attack(), "a.pth")
    read_checkpoint("a.pth")


def _no_weights_in_it(monkeypatch):
    torch.save({"epoch": 40}, "a.pth")
    read_checkpoint("a.pth")


def _a_name_that_is_not_known(monkeypatch):
    fetch("nonsense")


def _offline(monkeypatch):
    monkeypatch.setenv("UNSEEN_OFFLINE", "1")
    fetch("model")


def _the_server_is_away(monkeypatch):
    _serve(monkeypatch, error=ConnectionError("refused"))
    fetch("model")


def _it_went_away_on_the_way(monkeypatch):
    part = Path("CACHE/weights/model.pth.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1_966_080))
    part.with_name("model.pth.part.json").write_text('"1"')
    _serve(monkeypatch, error=ConnectionError("reset"))
    fetch("model")


def _the_file_is_gone(monkeypatch):
    error = OSError("404")
    error.response = type("Response", (), {"status_code": 404})()
    _serve(monkeypatch, error=error)
    fetch("model")


def _another_file_arrived(monkeypatch):
    _publish(monkeypatch, md5="4bf1…")
    _serve(monkeypatch, b"a login page")
    fetch("model")


def _it_changed_in_the_cache(monkeypatch):
    _serve(monkeypatch, b"1")
    fetch("model").write_bytes(b"2")
    fetch("model")


CASES = {
    "a checkpoint that is not there": _a_checkpoint_that_is_not_there,
    "an unreadable checkpoint": _an_unreadable_checkpoint,
    "a pickle that wants code": _a_pickle_that_wants_code,
    "no weights in it": _no_weights_in_it,
    "a name that is not known": _a_name_that_is_not_known,
    "offline": _offline,
    "the server is away": _the_server_is_away,
    "it went away on the way": _it_went_away_on_the_way,
    "the file is gone": _the_file_is_gone,
    "another file arrived": _another_file_arrived,
    "it changed in the cache": _it_changed_in_the_cache,
}


@pytest.mark.parametrize("found", CASES)
def test_the_message_is_the_one_in_the_docs(found, monkeypatch):
    with pytest.raises(UnseenError) as caught:
        CASES[found](monkeypatch)
    text = re.escape(MESSAGES[found]).replace("…", ".*")  # long digests and lists are cut there
    assert re.fullmatch(text, str(caught.value)), str(caught.value)


def test_every_message_in_the_docs_has_its_test():
    assert MESSAGES.keys() == CASES.keys()
