"""Any file as a table of text that knows the line of each row: CSV with any separator and encoding, Parquet, Excel, and the
JSON of Label Studio."""

import csv
import gzip
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
LONGEST = 80  # characters of a name in a message
# Files of other kinds by their first bytes.
OTHERS = {
    b"PK\3\4": "a zip archive or an Excel workbook; unpack it, or call it .xlsx",
    b"\x1f\x8b": "a file packed by gzip; call it .gz",
    b"BZh": "a file packed by bzip2; unpack it",
    b"\xfd7zXZ": "a file packed by xz; unpack it",
    b"PAR1": "a Parquet file; call it .parquet",
    b"%PDF": "a PDF document; save the table as CSV",
}
LABEL_STUDIO = "read as an export of Label Studio"


class Refusal(ValueError):
    """A file cannot be used as it is; the message says where and what to do."""


@dataclass(eq=False)
class TextTable:
    """A table whose cells are all text, its column names stripped of surrounding spaces.

    Attributes:
        frame: the cells as they are in the file.
        path: of the file.
        notes: what the user should know about how it was read.
        separator: between cells; empty if the file is not a CSV.
        lines: of the file on which each row ends, if they are not simply 2, 3, 4, ...
    """

    frame: pd.DataFrame
    path: Path
    notes: list[str] = field(default_factory=list)
    separator: str = ""
    lines: list[int] | None = None

    def place(self, row: int) -> str:
        """Where a row is, for a message: file and line."""
        return f"{self.path.name}, {self.line(row)}"

    def line(self, row: int) -> str:
        """The line of a row in a CSV, whose first is the header; its number among the rows elsewhere."""
        if not self.separator:
            return f"row {row + 1}"
        return f"line {row + 2 if self.lines is None else self.lines[row]}"


def read_table(path: str | Path) -> TextTable:
    """Read a file as text. Raises FileNotFoundError, or a Refusal where it is empty, damaged, or not a table."""
    path = Path(path)
    if path.is_dir():
        raise Refusal(f"expected a file, found the folder {path}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name, content = path.name.lower(), path.read_bytes()
    if name.endswith(".gz"):
        try:
            name, content = name.removesuffix(".gz"), gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise Refusal(f"{path.name} is named .gz but cannot be unpacked: {error}") from error
    other = next((kind for mark, kind in OTHERS.items() if content.startswith(mark)), "")
    if other and not name.endswith((".xlsx", ".parquet")):
        raise Refusal(f"{path.name}: expected a table as text (CSV), found {other}")
    if not content.strip():
        raise Refusal(f"{path.name} is empty; expected a table with a header")
    if name.endswith((".xlsx", ".parquet")):
        table = TextTable(_binary(path, name, content), path)
    elif name.endswith(".json"):
        table = TextTable(_label_studio(path, content), path, [LABEL_STUDIO])
    else:
        table = _csv(path, content)
    frame = table.frame
    frame.columns = [str(column).strip() for column in frame.columns]
    first = frame.columns[0] if frame.shape[1] else ""
    if first in ("", "Unnamed: 0") and frame.iloc[:, 0].tolist() == [str(i) for i in range(len(frame))]:
        table.frame = frame = frame.iloc[:, 1:]
        table.notes.append(f"the first column of {path.name}, which has no name and only counts rows, is left out")
    if (again := frame.columns[frame.columns.duplicated()]).size:
        raise Refusal(f"{path.name} has two columns named {again[0]!r}; rename one of them")
    if frame.empty:
        raise Refusal(f"{path.name} has a header ({shown(frame.columns)}) but no rows")
    return table


def _csv(path: Path, content: bytes) -> TextTable:
    text, notes = _decoded(path, content)
    if not text.strip():
        raise Refusal(f"{path.name} is empty; expected a table with a header")
    if text[:99].lstrip()[:1] in ("{", "["):
        raise Refusal(f"{path.name}: expected a table as text (CSV), found JSON; save it as CSV (Label Studio's export: .json)")
    if "\0" in text:
        raise Refusal(f"{path.name} is not plain text, or UTF-16 without the mark that says so; save it as CSV (UTF-8)")
    outside = "".join(text.split("\n", 1)[0].split('"')[::2])  # a separator in quotes is part of a name
    separator = max(SEPARATORS, key=outside.count)
    if separator != ",":
        mark = "tabs" if separator == "\t" else repr(separator)
        notes.append(f"the cells of {path.name} are separated by {mark}")
    frame = _quickly(text, separator)
    if frame is not None and len(frame) == text.count("\n") - text.endswith("\n"):  # no blank lines, none in quotes
        return TextTable(frame, path, notes, separator)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # a cell may hold a long text
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        names = next(rows)
        cells, lines = [], []
        for row in rows:
            if row:
                cells.append(row)
                lines.append(rows.line_num)
    except csv.Error as error:
        raise Refusal(f"{path.name} cannot be read as a table: {error}. Save it as CSV (UTF-8) and try again") from error
    widths = np.fromiter(map(len, cells), dtype=np.int64, count=len(cells))
    if len(wrong := np.flatnonzero(widths != len(names))):
        raise Refusal(
            f"{path.name}, line {lines[wrong[0]]} has {widths[wrong[0]]} cells, but the header has {len(names)}: "
            f"{shown(names)}. Put cells that contain the separator in quotes"
        )
    return TextTable(pd.DataFrame(cells, columns=names, dtype="str"), path, notes, separator, lines)


def _quickly(text: str, separator: str) -> pd.DataFrame | None:
    """The table as Arrow reads it, many times as fast as the plain reader; None if anything is odd, for which the latter has
    the words."""
    kinds = {"dtype": "str", "keep_default_na": False, "header": None, "engine": "pyarrow"}
    try:
        frame = pd.read_csv(io.BytesIO(text.encode()), sep=separator, **kinds)
    except (ImportError, ValueError):
        return None
    return frame.iloc[1:].set_axis(frame.iloc[0].tolist(), axis=1).reset_index(drop=True) if len(frame) > 1 else None


def _decoded(path: Path, content: bytes) -> tuple[str, list[str]]:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return content.decode("utf-16"), [f"{path.name} is encoded in UTF-16"]
        except UnicodeDecodeError as error:
            raise Refusal(f"{path.name} is marked as UTF-16, but is damaged: {error}. Save it as CSV (UTF-8)") from error
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        try:
            return content.decode("cp1252"), [f"{path.name} is not UTF-8, read as Windows-1252: check names with accents"]
        except UnicodeDecodeError as error:
            raise Refusal(f"{path.name} is neither UTF-8, UTF-16 nor Windows-1252 text; save it as CSV (UTF-8)") from error


def _binary(path: Path, name: str, content: bytes) -> pd.DataFrame:
    try:
        if name.endswith(".parquet"):
            return as_text(pd.read_parquet(io.BytesIO(content)))
        return as_text(pd.read_excel(io.BytesIO(content), dtype=str, keep_default_na=False))
    except ImportError as error:
        package = "pyarrow" if name.endswith(".parquet") else "openpyxl"
        raise Refusal(f"to read {path.name}, install the package {package}, or save the table as CSV") from error
    except Exception as error:  # whatever the reader of a foreign format raises, the user needs one line
        raise Refusal(f"{path.name} cannot be read: {error}") from error


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Every cell as text, missing ones as empty."""
    return frame.map(lambda cell: "" if cell is None or cell is pd.NA or cell != cell else str(cell)).astype("str")


def _label_studio(path: Path, content: bytes) -> pd.DataFrame:
    """One row per annotation: item, annotator, label, known."""
    try:
        rows = []
        for task in json.loads(content):
            item = next((str(value) for value in task["data"].values() if isinstance(value, str)), str(task["id"]))
            for said in task["annotations"]:
                if said.get("was_cancelled"):
                    continue
                person = said.get("completed_by")
                person = person.get("email", person.get("id")) if isinstance(person, dict) else person
                choices = [choice for part in said["result"] for choice in part["value"].get("choices", [])]
                label = choices[0] if len(choices) == 1 else json.dumps(choices) if choices else ""
                rows.append((item, str(person), label, label if said.get("ground_truth") else ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refusal(f"{path.name} is JSON, but no Label Studio export with choices: {error!r}. Save it as CSV") from error
    return pd.DataFrame(rows, columns=["item", "annotator", "label", "known"], dtype=str)


def counted(number: int, name: str) -> str:
    """A number with its noun: ``1 item``, ``2,000 items``."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def shown(names, most: int = 6) -> str:
    """Some names in quotes, for a message."""
    names = list(names)
    rest = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(repr(short(str(name))) for name in names[:most]) + rest


def short(name: str) -> str:
    """A name without its middle if it is very long."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]} ... {name[-LONGEST // 2 :]}"
