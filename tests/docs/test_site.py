"""The documentation's site: it builds without a warning, and nothing is missing from it."""

import re
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


# The site checks the links of its own pages; these lie beside it.
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("name", PAGES)
def test_every_link_to_a_file_or_a_heading_of_the_repository_leads_there(name: str) -> None:
    page = ROOT / name
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = [link for link in _LINK.findall(prose) if "://" not in link]
    assert [link for link in links if not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    if not anchor or target.suffix != ".md":
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.M)
    return anchor in {_anchor(heading) for heading in headings}


def _anchor(heading: str) -> str:
    """The name that the site gives a heading: words in small letters, joined by hyphens."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def test_every_page_can_be_reached_from_the_menu() -> None:
    settings = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert set(_pages(settings["project"]["nav"])) == pages


def _pages(menu: object) -> list[str]:
    if isinstance(menu, str):
        return [menu]
    entries = menu.values() if isinstance(menu, dict) else menu
    return [page for entry in entries for page in _pages(entry)]
