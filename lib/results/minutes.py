"""How long everything takes: minutes that a pass of ``python -m lib.reproduce`` or a whole ``make test`` has measured.

Both write ``build/minutes.csv``; ``python -m lib.reproduce --merge build/minutes.csv`` takes it into
``data/reference/minutes.csv``, which README, the notebooks' first cells and their map are made from. A notebook's minutes are
what it would take alone: the seconds of its runs, with an even share of what the pass spent beside runs (loading data, making
features), divided by the number of processes, and those of the notebook itself; all notebooks together take what they share
once. A pass may have been interrupted and gone on with.
(The seconds in the rows of the reference are no such measure: many of those runs had a processor to share.)
"""

import csv
import io
import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from lib import paths
from lib.storage import write_atomically

__all__ = ["EVERYTHING", "NAME", "TESTS", "Measured", "measured", "read", "take_in", "words"]

NAME = "minutes.csv"
EVERYTHING = "make reproduce"  # in place of a notebook: a pass over all of them
TESTS = "make test"


@dataclass(frozen=True)
class Measured:
    """A line: the minutes, to one digit after the point, of a notebook's stem, :data:`EVERYTHING` or :data:`TESTS`.

    ``scale`` is that of the runs, empty for the tests; ``processes`` worked at once on a ``processor`` of that kind.
    """

    what: str
    scale: str
    minutes: float
    processes: int
    processor: str
    day: str


COLUMNS = [field.name for field in fields(Measured)]


def measured(what: str, scale: str, seconds: float, processes: int) -> Measured:
    """A line about this machine, today."""
    from lib.runs.sweep import processor  # torch: whoever only reads does without

    return Measured(what, scale, round(seconds / 60, 1), processes, processor(), time.strftime("%Y-%m-%d", time.gmtime()))


def read(path: Path | None = None) -> list[Measured]:
    """All lines of a file, by default the committed one; none where it does not exist.

    Raises ValueError for other columns or a line that is not one, with the file.
    """
    path = path or paths.reference() / NAME
    if not path.exists():
        return []
    try:
        head, *lines = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
        if head != COLUMNS:
            raise ValueError(f"found {', '.join(head)}")
        return [Measured(what, scale, float(minutes), int(at_once), *rest) for what, scale, minutes, at_once, *rest in lines]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: expected lines of {', '.join(COLUMNS)}: {error}") from error


def take_in(lines: Iterable[Measured], path: Path | None = None) -> int:
    """Put lines into a file, by default the committed one, each in place of an older one about the same; returns how many.

    Raises ValueError as :func:`read`, and NotWritable.
    """
    path = path or paths.reference() / NAME
    new = {(line.what, line.scale): line for line in lines}
    kept = {(line.what, line.scale): line for line in read(path)} | new
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *(astuple(kept[name]) for name in sorted(kept))])
    write_atomically(path, text.getvalue())
    return len(new)


def words(minutes: float) -> str:
    """``"under a minute"``, ``"4 minutes"``, ``"2.1 hours"``: as exact as another machine makes sensible."""
    if minutes < 1:
        return "under a minute"
    if minutes < 90:
        return f"{minutes:.0f} minute{'s' if round(minutes) > 1 else ''}"
    return f"{minutes / 60:.1f} hours"
