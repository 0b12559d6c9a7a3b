"""Published data files: found in the cache, then in the mirror, then downloaded; always checked by SHA-256.

``data/sources.toml`` is the list of known files. A mirror folder (``CROWDS_MIRROR``) is read in place and never
written: a file there with a wrong SHA-256 is passed over with a warning. Our own cache is different: a wrong file in it
is removed.
"""

import errno
import functools
import hashlib
import logging
import os
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lib import paths

log = logging.getLogger(__name__)

_RETRIES = 2  # after the first try: a connection that is cut twice still gives the file
_TIMEOUT = (5, 30)  # seconds to connect, seconds without a byte
_CHUNK = 1 << 16  # bytes
_BAR_AFTER = 3  # seconds a download may take before a progress bar appears
_verified: set[tuple] = set()  # files that this process has hashed, with time and size, so that it does so once
_removed: set[Path] = set()  # files of the cache that this process has removed for their wrong SHA-256
_unreachable: dict[str, str] = {}  # hosts that could not be connected to, and why: not tried again by this process


@dataclass(eq=False)
class DataUnavailable(Exception):
    """A data file cannot be had.

    Args:
        file: its path in ``data/sources.toml``.
        reason: why not.
        looked: where it was looked for and what was found there, one text per place.
        published: whether it can be downloaded at all.
        damaged: whether there was a copy of it, which is of no use.
    """

    file: str
    reason: str
    looked: Sequence[str] = ()
    published: bool = True
    damaged: bool = False

    def __str__(self) -> str:
        looked = f" Looked in {'; '.join(self.looked)}." if self.looked else ""
        online = "run again with internet access, or " if self.published else ""
        return (
            f"data file {self.file} is not available: {self.reason}.{looked} To get it, {online}set CROWDS_MIRROR to a "
            f"folder laid out like data/sources.toml, with the file at <folder>/{self.file}."
        )


class _NoUse(Exception):
    """A download failed in a way that trying the same address again does not mend."""


@dataclass(frozen=True)
class Source:
    """One published file: its path in cache and mirror, addresses in the order to try, size, SHA-256, a remark."""

    path: str
    urls: tuple[str, ...]
    bytes: int
    sha256: str
    note: str = ""


def sources() -> dict[str, Source]:
    """Every file of ``data/sources.toml``, by its path."""
    return _read(paths.SOURCES)


@functools.lru_cache(maxsize=4)
def _read(file: Path) -> dict[str, Source]:
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["file"]
    urls = [[entry["url"]] if isinstance(entry["url"], str) else entry["url"] for entry in entries]
    return {
        entry["path"]: Source(entry["path"], tuple(filter(None, url)), entry["bytes"], entry["sha256"], entry.get("note", ""))
        for entry, url in zip(entries, urls, strict=True)
    }


def source(relative: str) -> Source:
    """The entry of one file. Raises ValueError where ``data/sources.toml`` has no such path."""
    known = sources()
    if relative not in known:
        folder = relative.split("/")[0]
        near = [name for name in known if name.split("/")[0] == folder] or sorted({n.split("/")[0] + "/" for n in known})
        raise ValueError(f"no data file {relative!r} in {paths.SOURCES.name}, expected one of {', '.join(near)}")
    return known[relative]


def path(relative: str) -> Path:
    """Where a published file lies on this machine, in the cache or the mirror, after getting it if need be.

    Args:
        relative: its path in ``data/sources.toml``, such as ``"labelme/answers.txt"``.

    Raises:
        ValueError: no such entry.
        DataUnavailable: it is neither here nor to be had; nothing half-written is left behind.
    """
    entry = source(relative)
    found, looked, damaged = _find(entry)
    if found is None:
        found = paths.cache() / relative
        if (reason := _download(entry, found)) is not None:
            raise DataUnavailable(relative, reason, looked, published=bool(entry.urls), damaged=damaged)
        _verified.add(_state(found, entry))
    return found


def local(relative: str) -> Path | None:
    """As :func:`path`, but None where the file would have to be downloaded."""
    return _find(source(relative))[0]


def _find(entry: Source) -> tuple[Path | None, list[str], bool]:
    """The file in the cache or the mirror; or None, what was found in each place, and whether a copy was damaged."""
    cached, mirror = paths.cache() / entry.path, paths.mirror()
    if cached.is_file():
        if _is_right(cached, entry):
            return cached, [], False
        log.warning("%s has a wrong SHA-256: removed, to be fetched again", cached)
        try:
            cached.unlink(missing_ok=True)
        except OSError as error:
            reason = f"{cached} has a wrong SHA-256 and cannot be removed: {error}"
            raise DataUnavailable(entry.path, reason, damaged=True) from error
        _removed.add(cached)
    damaged = cached in _removed
    looked = [f"the cache ({cached} {'had a wrong SHA-256 and was removed' if damaged else 'is not there'})"]
    if mirror is None:
        asked = os.environ.get("CROWDS_MIRROR")
        looked.append(f"no mirror folder ({f'CROWDS_MIRROR={asked} is no folder' if asked else 'CROWDS_MIRROR is not set'})")
    elif not (copy := mirror / entry.path).is_file():
        looked.append(f"the mirror ({copy} is not there)")
    elif _is_right(copy, entry):
        return copy, [], False
    else:
        log.warning("%s has a wrong SHA-256: passed over", copy)
        looked.append(f"the mirror ({copy} is damaged, it has a wrong SHA-256; replace it)")
        damaged = True
    return None, looked, damaged


def _state(file: Path, entry: Source) -> tuple:
    status = file.stat()
    return str(file), status.st_mtime_ns, status.st_size, entry.sha256


def _is_right(file: Path, entry: Source) -> bool:
    key = _state(file, entry)
    if key not in _verified and file.stat().st_size == entry.bytes:
        with file.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == entry.sha256:
                _verified.add(key)
    return key in _verified


def _download(entry: Source, target: Path) -> str | None:
    """Try each address. None where the whole file with the right hash is there now; else why not, and there is no file."""
    if not entry.urls:
        return f"it has no address to download from ({entry.note})"
    try:
        import pooch  # here, since a machine that only computes need not have it
        from requests import RequestException
    except ImportError:
        return "it must be downloaded, and the package pooch, which downloads, is not installed (pip install pooch)"

    pooch.get_logger().setLevel(logging.WARNING)  # we report ourselves
    failures = []
    for url in entry.urls:
        if why := _unreachable.get(urlsplit(url).netloc):
            failures.append(f"{url} ({why}; not tried again in this process)")
            continue
        log.info("downloading %s", url)
        registry = {entry.path: f"sha256:{entry.sha256}"}
        try:
            # Pooch writes to a temporary file beside the target, checks the hash, then renames; or removes it.
            target.parent.mkdir(parents=True, exist_ok=True)
            keeper = pooch.create(paths.cache(), "", registry=registry, urls={entry.path: url}, retry_if_failed=_RETRIES)
            keeper.fetch(entry.path, downloader=functools.partial(_fetch, entry))
            return None
        except (ValueError, RequestException, _NoUse) as error:  # a hash, a cut connection, an address without the file
            failures.append(f"{url} ({error})")
        except OSError as error:
            return _disk_reason(error, entry, target.parent)
    return f"the download failed: {'; '.join(failures)}"


def _fetch(entry: Source, url: str, output_file: str, _pooch) -> None:
    """One try of one address; the last three arguments are those that pooch gives."""
    import requests
    from tqdm.auto import tqdm
    from urllib3.exceptions import MaxRetryError

    try:
        with (
            tqdm(total=entry.bytes, desc=entry.path, unit="B", unit_scale=True, delay=_BAR_AFTER, leave=False) as bar,
            requests.get(url, stream=True, timeout=_TIMEOUT) as response,
            Path(output_file).open("wb") as file,
        ):
            response.raise_for_status()
            for chunk in response.iter_content(_CHUNK):
                if file.tell() + len(chunk) > entry.bytes:  # a body may be endless
                    raise _NoUse(f"it is larger than the {entry.bytes:,} bytes of the published file")
                file.write(chunk)
                bar.update(len(chunk))
    except requests.HTTPError as error:
        if error.response.status_code in (408, 429) or error.response.status_code >= 500:
            raise  # the server's bad moment
        raise _NoUse(str(error)) from error
    except requests.ConnectionError as error:
        if not (error.args and isinstance(error.args[0], MaxRetryError)):
            raise  # connected, then cut
        host = urlsplit(error.request.url if error.request else url).netloc  # an address may lead to another
        _unreachable[host] = f"no connection to {host}: {error.args[0].reason}"
        raise _NoUse(_unreachable[host]) from error


def _disk_reason(error: OSError, entry: Source, folder: Path) -> str:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"it cannot be written to {folder}: {error}"
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    return f"the disk of {folder} is full: {entry.bytes:,} bytes are needed, {free:,} are free ({error.strerror})"
