"""Data files: found, checked, downloaded from a server on this machine that misbehaves on request."""

from __future__ import annotations

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


class Server(ThreadingHTTPServer):
    """Serves CONTENT at /good; /cut breaks off ``cuts`` times; /wrong, /busy and everything else fail always."""

    daemon_threads = True

    def __init__(self, cuts: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts, self.asked = cuts, []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/busy":
            self.send_error(503)
            return
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(CONTENT)
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:9/good")
            self.end_headers()
            return
        if self.path not in ("/good", "/cut", "/wrong"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        cut = self.path == "/cut" and self.server.asked.count("/cut") <= self.server.cuts
        self.wfile.write(CONTENT[::-1] if self.path == "/wrong" else CONTENT[: len(CONTENT) // 2] if cut else CONTENT)

    def log_message(self, *_args) -> None:
        pass


@pytest.fixture
def server(request):
    """A running server; parametrize indirectly with the number of cuts (2 by default)."""
    server = Server(getattr(request, "param", 2))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Cache and mirror of our own, no waiting between retries, nothing remembered of other tests."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("CROWDS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CROWDS_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(download, "_verified", set())
    monkeypatch.setattr(download, "_unreachable", {})
    return tmp_path


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Write a sources.toml with one file at the given addresses."""

    def write(*urls: str, note: str = "", name: str = NAME) -> None:
        file = tmp_path / f"sources{len(list(tmp_path.glob('sources*')))}.toml"
        lines = [
            "[[file]]",
            f'path = "{name}"',
            f"url = {list(urls)}" if len(urls) != 1 else f'url = "{urls[0]}"',
            f"bytes = {len(CONTENT)}",
            f'sha256 = "{hashlib.sha256(CONTENT).hexdigest()}"',
            f'note = "{note}"',
        ]
        file.write_text("\n".join(lines))
        monkeypatch.setattr(paths, "SOURCES", file)

    return write


def put(folder, content: bytes = CONTENT):
    file = folder / NAME
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def files_left(places) -> list[str]:
    return sorted(str(f.relative_to(places)) for f in (places / "cache").rglob("*") if f.is_file())


def test_download_then_cache(server, publish, places):
    publish(f"{server.address}/good")
    assert download.path(NAME).read_bytes() == CONTENT
    assert download.path(NAME) == places / "cache" / NAME
    assert server.asked == ["/good"]
    assert files_left(places) == ["cache/set/a.bin"]


def test_mirror_is_read_in_place(server, publish, places):
    file = put(places / "mirror")
    publish(f"{server.address}/good")
    assert download.path(NAME) == file
    assert server.asked == []
    assert files_left(places) == []


def test_connection_cut_twice_still_gives_the_file(server, publish, places):
    publish(f"{server.address}/cut")
    assert download.path(NAME).read_bytes() == CONTENT
    assert server.asked == ["/cut"] * 3
    assert files_left(places) == ["cache/set/a.bin"]


@pytest.mark.parametrize("server", [99], indirect=True)
def test_connection_always_cut(server, publish, places):
    publish(f"{server.address}/cut")
    with pytest.raises(download.DataUnavailable, match="download failed"):
        download.path(NAME)
    assert files_left(places) == []


@pytest.mark.parametrize(
    ("page", "requests", "message"),
    [("gone", 1, "404"), ("wrong", 3, "does not match the known hash"), ("busy", 3, "503")],
)
def test_failures_leave_nothing(server, publish, places, page, requests, message):
    publish(f"{server.address}/{page}")
    with pytest.raises(download.DataUnavailable, match=message) as caught:
        download.path(NAME)
    assert len(server.asked) == requests
    assert files_left(places) == []
    text = str(caught.value)
    for part in (NAME, f"{server.address}/{page}", str(places / "cache"), str(places / "mirror"), "CROWDS_MIRROR"):
        assert part in text


def test_a_body_without_end_is_cut_at_the_known_size(server, publish, places):
    publish(f"{server.address}/endless", f"{server.address}/good")
    assert download.path(NAME).read_bytes() == CONTENT
    assert files_left(places) == [f"cache/{NAME}"]


def test_an_address_that_leads_to_a_host_that_is_not_there_is_not_held_against_its_own(server, publish):
    publish(f"{server.address}/elsewhere", f"{server.address}/good")
    assert download.path(NAME).read_bytes() == CONTENT
    assert list(download._unreachable) == ["127.0.0.1:9"]


def test_next_address_is_tried(server, publish):
    publish(f"{server.address}/gone", f"{server.address}/wrong", f"{server.address}/good")
    assert download.path(NAME).read_bytes() == CONTENT


def test_all_addresses_bad_names_all(server, publish, places):
    publish(f"{server.address}/gone", f"{server.address}/wrong")
    with pytest.raises(download.DataUnavailable, match=r"/gone .*404.*/wrong .*hash"):
        download.path(NAME)
    assert files_left(places) == []


def test_corrupt_cached_file_is_fetched_again(server, publish, places, caplog):
    put(places / "cache", CONTENT[::-1])
    publish(f"{server.address}/good")
    assert download.path(NAME).read_bytes() == CONTENT
    assert server.asked == ["/good"]
    assert "wrong SHA-256: removed" in caplog.text


def test_corrupt_cached_file_is_removed_even_if_there_is_no_other(server, publish, places):
    put(places / "cache", CONTENT[:-1])
    publish(f"{server.address}/wrong")
    with pytest.raises(download.DataUnavailable, match="had a wrong SHA-256 and was removed"):
        download.path(NAME)
    assert files_left(places) == []


def test_file_changed_after_it_was_checked_is_noticed(server, publish, places):
    publish(f"{server.address}/good")
    file = download.path(NAME)
    file.write_bytes(CONTENT[::-1])
    os.utime(file, ns=(1, 1))  # a write within the clock's grain would keep the time
    assert download.path(NAME).read_bytes() == CONTENT


def test_file_is_hashed_once(publish, places, monkeypatch):
    put(places / "mirror")
    publish("http://127.0.0.1:9/none")
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: hashed.append(1) or digest(*a))
    download.path(NAME)
    download.path(NAME)
    assert len(hashed) == 1


def test_corrupt_mirror_file_is_passed_over_and_kept(server, publish, places, caplog):
    file = put(places / "mirror", CONTENT[::-1])
    publish(f"{server.address}/good")
    assert download.path(NAME) == places / "cache" / NAME
    assert file.read_bytes() == CONTENT[::-1]
    assert f"{file} has a wrong SHA-256" in caplog.text


def test_offline_fails_fast_after_the_first(publish, places, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # bound but not listening: refused
        publish(f"http://127.0.0.1:{port}/a")
        with pytest.raises(download.DataUnavailable, match=r"no connection to 127\.0\.0\.1"):
            download.path(NAME)
    publish(f"http://127.0.0.1:{port}/b", name="set/b.bin")
    monkeypatch.setattr("pooch.HTTPDownloader.__call__", lambda *_: pytest.fail("tried the network again"))
    with pytest.raises(download.DataUnavailable, match="not tried again"):
        download.path("set/b.bin")
    assert files_left(places) == []


def test_a_mirror_that_is_no_folder_is_named(publish, places, monkeypatch):
    monkeypatch.setenv("CROWDS_MIRROR", str(places / "nowhere"))
    publish(note="packed by hand")
    with pytest.raises(download.DataUnavailable, match="nowhere is no folder"):
        download.path(NAME)


def test_file_without_address(publish):
    publish("", note="packed by hand")
    with pytest.raises(download.DataUnavailable, match=r"no address to download from \(packed by hand\)") as caught:
        download.path(NAME)
    assert "internet" not in str(caught.value)


def break_download(monkeypatch, error: BaseException) -> None:
    """Half of the file is written, then ``error``."""

    def write_half(_self, _url, out, _pooch):
        out.write(CONTENT[: len(CONTENT) // 2])
        out.flush()
        raise error

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", write_half)


def test_full_disk(publish, places, monkeypatch):
    publish("http://127.0.0.1:9/a")
    break_download(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(10, 3, 1234567))
    with pytest.raises(download.DataUnavailable, match=r"is full: 512,000 bytes are needed, 1,234,567 are free") as caught:
        download.path(NAME)
    assert str(places / "cache") in str(caught.value)
    assert files_left(places) == []


def test_cache_that_cannot_be_written(publish, places):
    (places / "cache").write_text("a file, not a folder")
    publish("http://127.0.0.1:9/a")
    with pytest.raises(download.DataUnavailable, match="cannot be written"):
        download.path(NAME)


def test_interrupt_leaves_nothing(publish, places, monkeypatch):
    publish("http://127.0.0.1:9/a")
    break_download(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        download.path(NAME)
    assert files_left(places) == []


def test_without_pooch(publish, monkeypatch):
    publish("http://127.0.0.1:9/a")
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
    error = download.DataUnavailable("a", "because", ["here"], published=False)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.file, again.reason, again.looked, again.published) == ("a", "because", ("here",), False)


def test_committed_sources_are_well_formed():
    known = download.sources()
    assert {name.split("/")[0] for name in known} >= {"labelme", "music", "sentiment_polarity"}
    for name, entry in known.items():
        assert name == entry.path
        assert entry.bytes > 0
        assert len(entry.sha256) == 64
        assert set(entry.sha256) <= set("0123456789abcdef")
        assert entry.urls or entry.note
        assert all(url.startswith("https://") for url in entry.urls)
