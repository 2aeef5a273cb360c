"""What a user installs: the package with its data, and nothing of the laboratory or the tests."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as the project's own build backend makes it."""
    (path,) = WheelBuilder(str(ROOT)).build(
        directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"]
    )
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_package_alone(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"unseen"}


def test_every_file_of_the_package_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    source = ROOT / "src"
    files = {
        path.relative_to(source).as_posix()
        for path in (source / "unseen").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in wheel.namelist() if name.startswith("unseen/")}
    assert held == files
    # what is no Python and would be missed only by users
    assert "unseen/py.typed" in held
    assert {Path(name).suffix for name in held} >= {".safetensors", ".md", ".j2", ".css", ".js"}


def test_no_module_of_the_wheel_needs_the_laboratory(wheel: zipfile.ZipFile) -> None:
    modules = [name for name in wheel.namelist() if name.endswith(".py")]
    needing = [
        name
        for name in modules
        for line in wheel.read(name).decode().splitlines()
        if line.strip().startswith(("from lab", "import lab", "from tests", "import tests"))
    ]
    assert not needing
