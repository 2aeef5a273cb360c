"""The page as PDF, printed by the browser that is there: Chromium, Chrome or Edge."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from unseen.core.errors import StorageError
from unseen.core.files import as_path, write_aside

PDF = "report.pdf"
_BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_SECONDS = 300  # a page of 336 classes takes about ten
_SETTLED = 20_000  # milliseconds of the page's own clock: its pictures are there by then


def print_pdf(page: str | Path) -> Path:
    """Print a page to `report.pdf` beside it: A4, portrait, with the classes that were found open.

    Args:
        page: what `report` wrote.

    Raises:
        StorageError: there is no browser that prints, it fails, or the disk is full.
    """
    page = as_path(page)
    browser = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise StorageError(
            "no Chromium, Chrome or Edge was found, and one of them prints the PDF; install one "
            f"(apt-get install chromium), or open {page} and print it from your browser"
        )
    pdf = page.with_name(PDF)
    with tempfile.TemporaryDirectory() as profile, write_aside(pdf) as aside:
        command = [
            browser,
            "--headless=new",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={profile}",
            "--no-pdf-header-footer",
            f"--virtual-time-budget={_SETTLED}",
            # Its sandbox does not start for root; the page is our own and loads nothing foreign.
            *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
            f"--print-to-pdf={aside}",
            page.resolve().as_uri() + "?print",
        ]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StorageError(_failed(browser, page, str(error))) from error
        if ended.returncode or not Path(aside).is_file() or not Path(aside).stat().st_size:
            lines = ended.stderr.decode(errors="replace").strip().splitlines()
            raise StorageError(_failed(browser, page, lines[-1] if lines else "no PDF"))
    return pdf


def _failed(browser: str, page: Path, why: str) -> str:
    return (
        f"{browser} did not print {page} ({why[:200]}); open the page and print it from a browser"
    )
