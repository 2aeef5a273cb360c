"""The documentation's site: it builds without a warning, and nothing is missing from it."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import unseen

ROOT = Path(__file__).parents[2]


def test_the_site_builds_without_a_warning_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    for name in ("docs", "src", "lab"):
        ignore = shutil.ignore_patterns("*.safetensors", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "unseen" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", unseen.__all__)
def test_the_reference_names_every_public_name(name: str) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8").splitlines()
    assert f"::: unseen.{name}" in reference


def test_every_page_can_be_reached_from_the_menu() -> None:
    settings = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert set(_pages(settings["project"]["nav"])) == pages


def _pages(menu: object) -> list[str]:
    if isinstance(menu, str):
        return [menu]
    entries = menu.values() if isinstance(menu, dict) else menu
    return [page for entry in entries for page in _pages(entry)]
