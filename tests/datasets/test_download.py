"""Data files: found, checked, downloaded from a server on this machine that misbehaves on request."""

import contextlib
import errno
import hashlib
import os
import pickle
import shutil
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tqdm import tqdm

from lib import paths
from lib.datasets import download

CONTENT = bytes(range(256)) * 2000
NAME = "set/a.bin"
BODIES = {"/good": CONTENT, "/twice": CONTENT, "/wrong": CONTENT[::-1], "/cut": CONTENT[: len(CONTENT) // 2]}


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT at /good, at /twice after two connections that were cut, and trouble at the other addresses."""

    def do_GET(self) -> None:
        asked = self.server.asked
        asked.append(self.path)
        if self.path in BODIES:
            body = BODIES["/cut" if self.path == "/twice" and asked.count("/twice") <= 2 else self.path]
            self.respond(200, "Content-Length", len(CONTENT))
            self.wfile.write(body)
        elif self.path == "/endless":
            self.respond(200, "Content-Type", "application/octet-stream")
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(CONTENT)
        elif self.path == "/elsewhere":
            self.respond(302, "Location", "http://127.0.0.1:9/good")
        else:
            self.send_error(503 if self.path == "/busy" else 404)

    def respond(self, code: int, name: str, value: object) -> None:
        self.send_response(code)
        self.send_header(name, str(value))
        self.end_headers()

    def log_message(self, *_args) -> None:
        pass


@pytest.fixture
def server():
    """A running server: its address, and what was asked of it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.asked, server.address = True, [], f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Cache and mirror of our own, no waiting between retries, nothing remembered of other tests, nothing half-written left."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CROWDS_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(download, "_verified", set())
    monkeypatch.setattr(download, "_unreachable", {})
    yield tmp_path
    assert {file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file()} <= {CONTENT}


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Write a sources.toml with one file at the given addresses."""

    def write(*urls: str, note: str = "", name: str = NAME) -> None:
        file = tmp_path / f"{name.replace('/', '_')}.toml"
        address = list(urls) if len(urls) != 1 else urls[0]
        digest = hashlib.sha256(CONTENT).hexdigest()
        file.write_text(
            f"[[file]]\npath = {name!r}\nurl = {address!r}\nbytes = {len(CONTENT)}\nsha256 = {digest!r}\nnote = {note!r}\n"
        )
        monkeypatch.setattr(paths, "SOURCES", file)
        download._read.cache_clear()

    return write


def put(folder, content: bytes = CONTENT):
    file = folder / NAME
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def break_download(monkeypatch, error: BaseException) -> None:
    """Half of the file is written, then ``error``."""

    def half(_self, _size):
        yield CONTENT[: len(CONTENT) // 2]
        raise error

    monkeypatch.setattr("requests.Response.iter_content", half)


@pytest.mark.parametrize(("page", "asked"), [("/good", 1), ("/twice", 3)])
def test_download_then_cache(server, publish, places, page, asked):
    publish(server.address + page)
    for _ in range(2):
        assert download.path(NAME) == places / "cache" / NAME
    assert server.asked == [page] * asked


def test_mirror_is_read_in_place_and_hashed_once(publish, places, monkeypatch):
    file = put(places / "mirror")
    publish("http://127.0.0.1:9/none")
    hashed, digest = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: hashed.append(1) or digest(*a))
    for _ in range(2):
        assert download.path(NAME) == file
    assert len(hashed) == 1
    assert not (places / "cache").exists()


@pytest.mark.parametrize(
    ("pages", "requests", "message"),
    [
        (["/gone"], 1, "404"),
        (["/wrong"], 3, "does not match the known hash"),
        (["/busy"], 3, "503"),
        (["/cut"], 3, "download failed"),
        (["/endless"], 1, "larger than the 512,000 bytes"),
        (["/gone", "/wrong"], 4, "/gone .*404.*/wrong .*hash"),
    ],
)
def test_failures_are_explained(server, publish, places, pages, requests, message):
    publish(*(server.address + page for page in pages))
    with pytest.raises(download.DataUnavailable, match=message) as caught:
        download.path(NAME)
    assert len(server.asked) == requests
    assert not caught.value.damaged
    for part in (NAME, server.address, str(places / "cache"), str(places / "mirror"), "CROWDS_MIRROR"):
        assert part in str(caught.value)


def test_the_next_address_is_tried_where_one_is_of_no_use(server, publish):
    pages = ("/gone", "/wrong", "/endless", "/elsewhere", "/good")
    publish(*(server.address + page for page in pages))
    assert download.path(NAME).read_bytes() == CONTENT
    assert tuple(dict.fromkeys(server.asked)) == pages
    assert list(download._unreachable) == ["127.0.0.1:9"]  # where /elsewhere leads; not held against the server itself


@pytest.mark.parametrize("wrong", [CONTENT[::-1], CONTENT[:-1]])
@pytest.mark.parametrize(("place", "kept"), [("cache", False), ("mirror", True)])
def test_a_damaged_copy_is_told_and_replaced(server, publish, places, caplog, place, kept, wrong):
    """Removed from our own cache; from a mirror it is passed over."""
    file = put(places / place, wrong)
    publish("", note="packed by hand")
    with pytest.raises(download.DataUnavailable, match=rf"{file} .*a wrong SHA-256") as caught:
        download.path(NAME)
    assert caught.value.damaged
    assert file.exists() == kept
    assert f"{file} has a wrong SHA-256" in caplog.text
    publish(f"{server.address}/good")
    assert download.path(NAME) == places / "cache" / NAME
    assert file.read_bytes() == (wrong if kept else CONTENT)


def test_a_damaged_copy_that_cannot_be_removed(publish, places, monkeypatch):
    file = put(places / "cache", CONTENT[::-1])
    publish("http://127.0.0.1:9/a")

    def refuse(_file, missing_ok):
        raise PermissionError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", refuse)
        with pytest.raises(download.DataUnavailable, match="cannot be removed: read-only") as caught:
            download.path(NAME)
    assert caught.value.damaged
    file.unlink()


def test_file_changed_after_it_was_checked_is_noticed(server, publish):
    publish(f"{server.address}/good")
    file = download.path(NAME)
    file.write_bytes(CONTENT[::-1])
    os.utime(file, ns=(1, 1))  # a write within the clock's grain would keep the time
    assert download.path(NAME).read_bytes() == CONTENT


def test_offline_fails_fast_after_the_first(publish, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # bound but not listening: refused
        publish(f"http://127.0.0.1:{port}/a")
        with pytest.raises(download.DataUnavailable, match=r"no connection to 127\.0\.0\.1"):
            download.path(NAME)
    publish(f"http://127.0.0.1:{port}/b", name="set/b.bin")
    monkeypatch.setattr("requests.get", lambda *_, **__: pytest.fail("tried the network again"))
    with pytest.raises(download.DataUnavailable, match="not tried again"):
        download.path("set/b.bin")


def test_file_without_address_and_a_mirror_that_is_no_folder(publish, places, monkeypatch):
    monkeypatch.setenv("CROWDS_MIRROR", str(places / "nowhere"))
    publish("", note="it had a wrong SHA-256")
    message = r"no address to download from \(it had a wrong SHA-256\).*nowhere is no folder"
    with pytest.raises(download.DataUnavailable, match=message) as caught:
        download.path(NAME)
    assert "internet" not in str(caught.value)
    assert not caught.value.damaged  # whatever the words


def test_full_disk_and_an_interrupt(server, publish, places, monkeypatch):
    publish(f"{server.address}/good")
    break_download(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(10, 3, 1234567))
    with pytest.raises(download.DataUnavailable, match=r"is full: 512,000 bytes are needed, 1,234,567 are free") as caught:
        download.path(NAME)
    assert str(places / "cache") in str(caught.value)
    break_download(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        download.path(NAME)


def test_cache_that_cannot_be_written_and_no_pooch(publish, places, monkeypatch):
    (places / "cache").write_bytes(CONTENT)  # a file, not a folder
    publish("http://127.0.0.1:9/a")
    with pytest.raises(download.DataUnavailable, match="cannot be written"):
        download.path(NAME)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(download.DataUnavailable, match=r"pooch.*is not installed"):
        download.path(NAME)


def test_quick_downloads_show_no_bar_and_long_ones_do(server, publish, capsys, monkeypatch):
    class Shown(tqdm):
        """Shown even where TQDM_DISABLE is set."""

        def __init__(self, *args, **options) -> None:
            super().__init__(*args, **{**options, "disable": False})

    monkeypatch.setattr("tqdm.auto.tqdm", Shown)
    publish(f"{server.address}/good")
    download.path(NAME).unlink()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(download, "_BAR_AFTER", 0)
    download.path(NAME)
    assert NAME in capsys.readouterr().err


def test_unknown_file_names_those_there_are(publish):
    publish("http://127.0.0.1:9/a")
    with pytest.raises(ValueError, match=r"no data file 'set/b.bin' .*set/a.bin"):
        download.path("set/b.bin")
    with pytest.raises(ValueError, match=r"'other/a.bin'.* set/"):
        download.path("other/a.bin")


def test_error_survives_the_way_between_processes():
    error = download.DataUnavailable("a", "because", ["here"], published=False, damaged=True)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.file, again.reason, again.looked, again.published, again.damaged) == ("a", "because", ["here"], False, True)


def test_committed_sources_are_well_formed():
    for name, entry in download.sources().items():
        assert name == entry.path
        assert entry.bytes > 0
        assert len(bytes.fromhex(entry.sha256)) == 32
        assert entry.urls or entry.note
        assert all(url.startswith("https://") for url in entry.urls)
