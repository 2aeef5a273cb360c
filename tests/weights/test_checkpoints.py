import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from unseen.core.errors import CheckpointError
from unseen.weights import read_checkpoint


class _Attack:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def _assert_same(found):
    assert found.keys() == WEIGHTS.keys()
    for name, value in WEIGHTS.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)


def test_both_formats_give_the_tensors_by_name_whatever_the_suffix(tmp_path):
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    save_file(WEIGHTS, tmp_path / "a.bin")
    torch.save(WEIGHTS, tmp_path / "a.pth")
    torch.save(WEIGHTS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for file in ("a.safetensors", "a.bin", "a.pth", "old.pth"):
        _assert_same(read_checkpoint(tmp_path / file))
    _assert_same(read_checkpoint(str(tmp_path / "a.pth")))


def test_the_weights_are_found_where_training_scripts_put_them(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"state_dict": WEIGHTS, "epoch": 40, "arch": "resnet"}, path)
    _assert_same(read_checkpoint(path))
    torch.save({"model": {"state_dict": WEIGHTS}}, path)
    _assert_same(read_checkpoint(path))
    torch.save({**WEIGHTS, "epoch": 40}, path)
    _assert_same(read_checkpoint(path))
    torch.save({f"module.{name}": value for name, value in WEIGHTS.items()}, path)
    _assert_same(read_checkpoint(path))


def test_parameters_come_without_their_gradients(tmp_path):
    torch.save({"a": torch.nn.Parameter(torch.ones(2))}, tmp_path / "a.pth")
    assert not read_checkpoint(tmp_path / "a.pth")["a"].requires_grad


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "old pickle"])
def test_a_pickle_that_asks_to_run_code_is_refused_and_runs_none(tmp_path, form):
    path, mark = tmp_path / "a.pth", tmp_path / "mark"
    attack = {"a": torch.ones(2), "b": _Attack(mark)} if "pickle" not in form else _Attack(mark)
    if form == "zip":
        torch.save(attack, path)
    elif form == "legacy":
        torch.save(attack, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(attack, protocol=4 if form == "pickle" else 2))
    with pytest.raises(
        CheckpointError, match=r"a\.pth asks to run code while loading \((posix|nt)\.mkdir\)"
    ):
        read_checkpoint(path)
    assert not mark.exists()


def test_a_whole_module_is_code_too(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(CheckpointError, match=r"asks to run code .*torch\.nn\.modules\.linear"):
        read_checkpoint(tmp_path / "module.pth")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html><title>Not found</title>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x80\x02garbage",
        b"\xff\xff\xff\xff\xff\xff\xff\xff{broken safetensors",
        bytes(100),
    ],
)
def test_an_unreadable_file_is_named(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pth cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_a_truncated_file_is_named(tmp_path, form):
    path = tmp_path / "a.pth"
    if form == "safetensors":
        save_file(WEIGHTS, path)
    else:
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=form == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 40])
    with pytest.raises(CheckpointError, match=r"a\.pth cannot be read as a checkpoint"):
        read_checkpoint(path)


def test_a_file_that_is_missing_or_holds_no_tensors_is_said_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth does not exist"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="is not a file"):
        read_checkpoint(tmp_path)
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth holds no tensors"):
        read_checkpoint(tmp_path / "a.pth")
    torch.save([torch.ones(2)], tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth holds no tensors"):
        read_checkpoint(tmp_path / "a.pth")


def test_the_table_and_the_reader_import_no_torch():
    code = "import sys, unseen.weights, unseen.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
