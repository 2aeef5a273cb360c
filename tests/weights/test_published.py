"""Every published file is still where its entry says, and still the same file.

`pytest -m network tests/weights` asks the publishers. Downloads go to this user's cache and are
resumed there, so that a second run reads and hashes what the first has fetched.
"""

import re

import pytest

from unseen.weights import KNOWN, cache_folder, fetch


@pytest.mark.parametrize("name", KNOWN)
def test_an_entry_says_where_a_file_is_and_how_it_is_known(name):
    entry = KNOWN[name]
    assert re.fullmatch(r"https?://[\w.]+(/[\w.-]+)+", entry.url)
    assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", entry.sha256)
    assert entry.licence
    assert entry.source


@pytest.mark.network
@pytest.mark.parametrize("name", KNOWN)
def test_a_published_file_is_where_its_entry_says(name):
    import requests

    entry = KNOWN[name]
    answer = requests.head(entry.url, allow_redirects=True, timeout=60)
    assert answer.status_code == 200, entry.url
    size = answer.headers.get("Content-Length")
    if entry.size is not None and size is not None:
        assert int(size) == entry.size


@pytest.mark.network
@pytest.mark.timeout(7200)  # some hold more than 100 MB, from servers far away
@pytest.mark.parametrize("name", KNOWN)
def test_a_published_file_is_the_one_of_its_entry(name):
    path = fetch(name, offline=False)  # DownloadError where size, SHA-256 or MD5 differ
    assert path.is_relative_to(cache_folder())
    assert path.stat().st_size > 0
