import contextlib
import dataclasses
import hashlib
import http.server
import re
import threading
from pathlib import Path

import pytest

from unseen.core.errors import DownloadError
from unseen.weights import KNOWN, Published, cache_folder, download, fetch

CONTENT = bytes(range(256)) * 12_000  # 3 MB: many chunks, so that a break has a middle
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT with ranges; `breaks` lists after how many bytes each answer breaks off."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests = []  # the Range header of every request
        self.breaks = []
        self.version = '"1"'
        self.content = CONTENT
        self.ranges = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/model-{SHA256[:8]}.pth"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        start = 0
        if self.path.endswith("gone"):
            self.send_error(404)
            return
        if wanted and server.ranges and self.headers.get("If-Range") == server.version:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(server.content):
                self.send_error(416)
                return
            self.send_response(206)
        else:
            self.send_response(200)
        rest = server.content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("ETag", server.version)
        self.end_headers()
        stop = server.breaks.pop(0) if server.breaks else len(rest)
        with contextlib.suppress(OSError):
            self.wfile.write(rest[:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("UNSEEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNSEEN_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    serving = _Server()
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    _publish(monkeypatch, serving.url, sha256=SHA256[:8])
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def _publish(monkeypatch, url, **facts):
    entry = Published(name="model", url=url, about="", licence="", source="", **facts)
    monkeypatch.setitem(KNOWN, "model", entry)


def _part():
    return cache_folder() / "weights" / f"model-{SHA256[:8]}.pth.part"


def test_a_file_is_downloaded_once_and_checked(server):
    path = fetch("model")
    assert path.read_bytes() == CONTENT
    assert path.name == f"model-{SHA256[:8]}.pth"
    assert fetch("model") == path
    assert server.requests == [None]
    left = {file.name for file in path.parent.iterdir()}
    assert left == {path.name, path.name + ".json"}


def test_a_line_that_breaks_is_taken_up_where_it_broke(server):
    server.breaks = [2_000_000, 500_000]
    assert fetch("model").read_bytes() == CONTENT
    assert server.requests[0] is None
    starts = [int(wanted.split("=")[1].rstrip("-")) for wanted in server.requests[1:]]
    assert len(starts) == 2
    assert 1_900_000 < starts[0] < starts[1] < len(CONTENT)


def test_a_killed_download_is_resumed_by_the_next_run(server, monkeypatch):
    server.breaks = [2_000_000]
    get = download._get

    def interrupted(url, part):
        with contextlib.suppress(OSError):
            get(url, part)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "_get", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch("model")
    assert fetch("model").read_bytes() == CONTENT
    assert server.requests[1].startswith("bytes=")


def _begin(content, version):
    _part().parent.mkdir(parents=True)
    _part().write_bytes(content)
    _part().with_name(_part().name + ".json").write_text(version)


def test_a_part_of_another_version_is_not_glued_to_this_one(server):
    _begin(b"x" * 1000, '"\\"0\\""')
    assert fetch("model").read_bytes() == CONTENT


def test_a_part_whose_note_is_damaged_begins_again(server):
    _part().parent.mkdir(parents=True)
    _part().write_bytes(b"x" * 100)
    _part().with_name(_part().name + ".json").write_bytes(b"\xff{")
    assert fetch("model").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_everything_again(server):
    server.ranges = False
    _begin(CONTENT[:1000], '"\\"1\\""')
    assert fetch("model").read_bytes() == CONTENT


def test_a_part_that_was_already_whole_ends_well(server):
    _begin(CONTENT, '"\\"1\\""')
    assert fetch("model").read_bytes() == CONTENT


def test_the_wrong_file_is_refused_and_not_kept(server, monkeypatch):
    server.content = b"a login page"
    with pytest.raises(DownloadError, match=r"is not the published model: its SHA-256.*begin with"):
        fetch("model")
    assert not _part().exists()
    assert not _part().with_suffix("").exists()
    _publish(monkeypatch, server.url, md5="0" * 32)
    with pytest.raises(DownloadError, match="its MD5 is"):
        fetch("model")
    _publish(monkeypatch, server.url, size=7)
    with pytest.raises(DownloadError, match="it has 12 bytes instead of 7"):
        fetch("model")


def test_a_file_that_changed_in_the_cache_is_refused(server):
    path = fetch("model")
    path.write_bytes(b"x")
    with pytest.raises(DownloadError, match="delete it and run again"):
        fetch("model")


def test_without_a_published_hash_the_first_download_is_trusted_and_recorded(server, monkeypatch):
    _publish(monkeypatch, server.url)
    path = fetch("model")
    path.write_bytes(CONTENT + b"x")
    with pytest.raises(DownloadError, match=r"\.json says otherwise; delete it and run again"):
        fetch("model")


def test_a_server_that_is_away_is_said_so_with_the_place_to_put_the_file(server, monkeypatch):
    with http.server.HTTPServer(("127.0.0.1", 0), _Handler) as closed:
        port = closed.server_address[1]
    _publish(monkeypatch, f"http://127.0.0.1:{port}/m.pth")
    with pytest.raises(DownloadError, match=r"cannot be reached.*put the file at .*m\.pth"):
        fetch("model")
    assert not list(cache_folder().rglob("*.part"))


def test_a_file_that_is_gone_is_said_so(server, monkeypatch):
    _publish(monkeypatch, server.url + "-gone")
    with pytest.raises(DownloadError, match=r"is no longer there \(404\)"):
        fetch("model")


def test_offline_nothing_is_asked_of_the_server(server, monkeypatch):
    monkeypatch.setenv("UNSEEN_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"switched off; put http.* at .*model-"):
        fetch("model")
    with pytest.raises(DownloadError, match="switched off"):
        fetch("model", offline=True)
    assert server.requests == []
    target = cache_folder() / "weights" / f"model-{SHA256[:8]}.pth"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    assert fetch("model") == target  # put there by hand, and checked
    monkeypatch.setenv("UNSEEN_OFFLINE", "0")
    assert fetch("model") == target


def test_two_at_once_download_once(server):
    threads = [threading.Thread(target=fetch, args=("model",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1


def test_a_name_that_is_not_known_is_answered_with_those_that_are():
    with pytest.raises(DownloadError, match=r"called 'nonsense'; known: .*progan-church"):
        fetch("nonsense")


def test_the_table_is_consistent():
    assert len({entry.file for entry in KNOWN.values()}) == len(KNOWN)
    for name, entry in KNOWN.items():
        assert name == entry.name
        assert all(dataclasses.astuple(entry)[:5])
        assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", entry.sha256)
        if entry.sha256:
            assert entry.sha256[:8] in entry.url


def test_progress_is_shown_to_people_and_to_no_one_else(server, monkeypatch, capsys):
    fetch("model")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("UNSEEN_CACHE", str(cache_folder() / "another"))
    fetch("model")
    printed = capsys.readouterr().err
    assert printed.endswith(f"model-{SHA256[:8]}.pth: 2 of 2 MiB\n")


def test_the_docs_list_every_published_file_as_it_is_known():
    docs = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
    for entry in KNOWN.values():
        if entry.sha256:
            digest = f"SHA-256 `{entry.sha256}…`"
        else:
            digest = f"MD5 `{entry.md5}`" if entry.md5 else "recorded at first use"
        assert f"| `{entry.name}` | [{entry.url_file}]({entry.url}) | " in docs
        assert f" | {digest} |\n" in docs
        assert f"Source: {entry.source}. Licence: {entry.licence}." in docs
