"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

__all__ = ["cached_array", "write_atomically"]

log = logging.getLogger(__name__)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a temporary file beside ``path``, then rename it; folders are made where they are missing.

    Args:
        path: the file to make or to replace.
        content: text, written as UTF-8 with the line ends it has, or bytes.

    Raises:
        OSError: it could not be written, a full disk included. The message names the file; what was there before is
            still there, and the temporary file is gone.
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
        raise OSError(error.errno, f"could not write {len(data)} bytes ({error.strerror})", str(path)) from error


def cached_array(folder: Path, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array that takes time to make, from ``<folder>/<key>.npy`` where it is whole, else made and kept there.

    A digest of the content stands beside it, so that damage is noticed and healed. Of several processes that ask at once, one
    makes it and the others wait. A folder that cannot be written costs time, nothing else.

    Args:
        folder: of the cache.
        key: says everything that decides the numbers.
        make: makes the array.
    """
    path = Path(folder) / f"{key}.npy"
    lock: contextlib.AbstractContextManager = contextlib.nullcontext()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock")).acquire()
    except OSError as error:
        log.warning("%s cannot be locked: %s", path, error)
    with lock:
        if (array := _whole(path)) is not None:
            return array
        array = make()
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        try:
            write_atomically(path, content.getvalue())
            write_atomically(path.with_suffix(".sha256"), hashlib.sha256(content.getvalue()).hexdigest() + "\n")
        except OSError as error:
            log.warning("%s is not kept: %s", path, error)
        return array


def _whole(path: Path) -> np.ndarray | None:
    try:
        content, digest = path.read_bytes(), path.with_suffix(".sha256").read_text().strip()
        if hashlib.sha256(content).hexdigest() == digest:
            return np.load(io.BytesIO(content), allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        log.warning("%s cannot be read, and is made again: %s", path, error)
        return None
    log.warning("%s is damaged, and is made again", path)
    return None
