"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["write_atomically"]


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
