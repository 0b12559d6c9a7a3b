"""Files: written so that a reader never sees half of one, locked between processes, and arrays that are made once."""

import contextlib
import hashlib
import io
import logging
import os
import shutil
import signal
import sys
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

Kept = TypeVar("Kept", np.ndarray, dict[str, np.ndarray])

_USERS = ".in-use"  # one lock file for each process that is at work in a folder


class NotWritable(OSError):
    """A file could not be written: a full or read-only disk, or no permission. The message names the file."""


def drop_output() -> None:
    """Send standard output nowhere from now on: its reader has gone, and at its end Python would try once more to write."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_closed() -> None:
    """Open the null device in place of a standard input, output or error that is closed, as after ``2>&-``. Otherwise the next
    file or socket gets its number, and what this process or one that it starts takes for standard error is that file."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # has the lowest number that is free
            os.set_inheritable(null, True)
            setattr(sys, name, open(null, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, which batch systems send, ends a command as Ctrl-C does: in order, by ``KeyboardInterrupt(SIGTERM)``."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8, with the line ends it has) or bytes to a temporary file beside ``path``, then rename it.

    Missing folders are made. Raises NotWritable, a full disk included: what was there before is still there, and the
    temporary file is gone.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # nor may cleaning up hide what went wrong
            temporary.unlink()
        raise NotWritable(error.errno, f"could not write {len(data)} bytes ({error.strerror})", str(path)) from error


# ---------------------------------------------------------------------- locks, which end with the process that holds them


def try_lock(path: Path, wait: bool = False) -> FileLock | None:
    """The lock of a file, to be released by the caller; None where another process has it and we do not ``wait``.

    Raises NotWritable where the file cannot be made.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=wait)
    except Timeout:
        return None
    except OSError as error:
        raise NotWritable(error.errno, f"could not be locked ({error.strerror})", str(path)) from error
    return lock


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, after waiting for whoever has it. Raises NotWritable as :func:`try_lock`."""
    lock = try_lock(path, wait=True)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Mark a folder as in use, until the block ends or the process does, in whatever way."""
    mark = folder / _USERS / uuid.uuid4().hex
    try:
        with locked(mark):
            yield
    finally:
        with contextlib.suppress(OSError):
            mark.unlink()


def remove_unused(folder: Path) -> None:
    """Remove a folder with all that is in it, unless a process that lives is at work in it."""
    for mark in (folder / _USERS).glob("*"):
        if (lock := try_lock(mark)) is None:
            return
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)


# ---------------------------------------------------------------------- arrays that take time to make


def cached(path: Path, make: Callable[[], Kept], right: Callable[[Kept], bool] | None = None) -> Kept:
    """What takes time to make, an array (in a file ``.npy``) or several by name (``.npz``): from the file where it is whole,
    else made and kept there.

    The path says everything that decides the numbers. A digest of the content stands beside it, so that damage is noticed
    and healed; ``right`` tells whether the content of a file that comes without its digest is the one. Of several processes
    that ask at once, one makes it and the others wait. A folder that cannot be written costs time, nothing else.
    """
    if (found := _whole(path, right)) is not None:
        return found
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path.with_suffix(".lock")))
        except NotWritable as error:
            log.warning("%s", error)
        if (found := _whole(path, right)) is not None:  # another process has made it meanwhile
            return found
        if path.exists():
            log.warning("%s is damaged, and is made again", path)
        made, content = make(), io.BytesIO()
        if isinstance(made, dict):
            np.savez(content, **made)
        else:
            np.save(content, made, allow_pickle=False)
        try:
            write_atomically(path, content.getvalue())
            write_atomically(path.with_suffix(".sha256"), hashlib.sha256(content.getvalue()).hexdigest() + "\n")
        except NotWritable as error:
            log.warning("%s: not kept, and made again next time", error)
        return made


def _whole(path: Path, right: Callable | None):
    """What a file holds where it agrees with its digest, or is right all the same; else None."""
    try:
        content, digest = path.read_bytes(), b""
        with contextlib.suppress(OSError):
            digest = path.with_suffix(".sha256").read_bytes().strip()
        intact = hashlib.sha256(content).hexdigest().encode() == digest
        if not (intact or right):
            return None
        found = unpacked(content)
        return found if found is not None and (intact or right(found)) else None
    except (OSError, ValueError, KeyError):
        return None


def unpacked(content: bytes) -> np.ndarray | dict[str, np.ndarray] | None:
    """What a file of NumPy holds, an array or several by name; None where it is damaged, or holds anything but arrays."""
    try:
        found = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return dict(found)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
