"""Code that users wrote: one error whatever it does, and every source file is known."""

import importlib
import sys

import pytest

from unseen.core.errors import OutOfMemoryError, SegmenterError, SpecError
from unseen.core.registry import call_user_factory, parse_spec
from unseen.core.user_code import module_files, user_code

SOURCES = {
    "mine_for_test.py": "import os\nimport helper_for_test\nimport numpy as np\n"
    "def make():\n    from package_for_test import inner\n    return inner\n",
    "helper_for_test.py": "from importlib import import_module as load, import_module\n"
    "late = lambda: import_module('late_for_test')",
    "late_for_test.py": "",
    "never_imported.py": "",
    "package_for_test/__init__.py": "",
    "package_for_test/inner.py": "from . import sibling\nfrom .deep.leaf import LEAF\n",
    "package_for_test/sibling.py": "import package_for_test.inner\n",
    "package_for_test/deep/__init__.py": "",
    "package_for_test/deep/leaf.py": "LEAF = 1\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = {*sys.modules}
    yield tmp_path
    for name in {*sys.modules} - before:
        del sys.modules[name]


def call(text):
    return call_user_factory(parse_spec(text), {}, what="segmenter", error=SegmenterError)[0]


def test_every_source_that_a_module_imports_from_its_folder_is_known(folder):
    call("python:mine_for_test:make")
    files = module_files("mine_for_test")
    assert set(files) == SOURCES.keys() - {"never_imported.py"}
    (folder / "package_for_test/deep/leaf.py").write_text("LEAF = 2\n")
    changed = module_files("mine_for_test")
    assert [name for name in files if files[name] != changed[name]] == [
        "package_for_test/deep/leaf.py"
    ]


def test_a_module_of_a_package_is_known_by_its_path_in_it(folder):
    importlib.import_module("package_for_test.inner")
    assert set(module_files("package_for_test.inner")) == {
        f"package_for_test/{name}"
        for name in ("__init__.py", "inner.py", "sibling.py", "deep/__init__.py", "deep/leaf.py")
    }


def test_an_installed_package_is_known_without_its_neighbours():
    import hypothesis.errors

    files = module_files(hypothesis.errors.__name__)
    assert "hypothesis/errors.py" in files
    assert all(name.startswith("hypothesis/") for name in files)


@pytest.mark.parametrize(
    "body", ["1 / 0", "import sys; sys.exit(0)", "raise SystemExit", "import no_such_module_here"]
)
@pytest.mark.parametrize("place", ["import", "factory"])
def test_whatever_a_users_module_does_is_one_error(folder, body, place):
    text = body if place == "import" else f"def make():\n    {body}\n"
    (folder / "broken_for_test.py").write_text(text)
    with pytest.raises(SegmenterError) as caught:
        call("python:broken_for_test:make")
    assert "broken_for_test" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent_for_test", "package_for_test.absent"])
def test_an_absent_module_is_a_wrong_spec(folder, name):
    with pytest.raises(SpecError, match=name):
        call(f"python:{name}:make")


def test_what_a_users_module_prints_leaves_stdout_alone(folder, capsys):
    (folder / "loud_for_test.py").write_text("print('import')\ndef make():\n    print('call')")
    call("python:loud_for_test:make")
    assert capsys.readouterr() == ("", "import\ncall\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("Non-zero status code: Failed to allocate memory for requested buffer"),
    ],
)
def test_memory_that_ran_out_says_which_option_to_lower(error):
    with pytest.raises(OutOfMemoryError, match="--batch-size"), user_code("mine", SegmenterError):
        raise error


def test_an_interruption_is_no_fault_of_the_users_code():
    with pytest.raises(KeyboardInterrupt), user_code("mine", SegmenterError):
        raise KeyboardInterrupt
