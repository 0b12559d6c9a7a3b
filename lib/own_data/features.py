"""What a classifier sees of each item: numbers from a table, or features of a text or an image from a frozen network."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from lib.datasets import image_features, sentence_vectors
from lib.own_data.intake import Intake, folded
from lib.own_data.tables import Refusal, TextTable, counted, read_table, shown

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
CHUNK = 256  # images in memory at a time

# Ways to compare the names of items in two files.
MATCHES: dict[str, Callable[[str], str]] = {
    "exact": str,
    "number": lambda name: folded(name) if re.fullmatch(r"\s*[+-]?\d+([.,]0*)?\s*", name) else name,
    "spelling": folded,
    "file-name": lambda name: PurePosixPath(name.strip().replace("\\", "/")).name,
    "stem": lambda name: PurePosixPath(name.strip().replace("\\", "/")).stem,
}


@dataclass(frozen=True)
class Source:
    """Where features come from, so that those of new items are made in the same way.

    Attributes:
        kind: ``columns`` of a table, ``text`` in a column, or ``images`` in a folder.
        columns: names of the features; the column of texts; empty for images.
    """

    kind: str
    columns: tuple[str, ...] = ()


def read_source(intake: Intake, source: Source, path: str | Path = "", match: str = "exact", decimal: str = ""):
    """The features of all items (a frame with one row per item), the labels in their order, and the source with its columns.

    For a table, empty columns of ``source`` stand for all of them. ``path`` is that of the table or the folder; ``match``, a
    name in ``MATCHES``, compares its items with those of the labels; ``decimal`` is ``,`` if numbers have a decimal comma.
    Raises a Refusal for a labeled item without features, or features that are not numbers.
    """
    inputs, arranged, notes = _read(intake, source, path, match, decimal)
    if source.kind == "columns":
        arranged, source = replace(arranged, notes=[*intake.notes, *notes]), Source("columns", tuple(inputs.columns))
    return features_of(source.kind, inputs), arranged, source


def check(intake: Intake, source: Source, path: str | Path, match: str, decimal: str) -> str:
    """How :func:`read_source` would read the features, or refuse to, in words; no network is run, and of images only the
    headers are read."""
    inputs, arranged, notes = _read(intake, source, path, match, decimal)
    for file in inputs if source.kind == "images" else ():
        with _opened(file):
            pass
    return f"features: {'; '.join(notes)}\nitems without a label: {(arranged.crowd.labels_per_item == 0).sum()}"


def _read(intake: Intake, source: Source, path: str | Path, match: str, decimal: str):
    """What features are made of, by item; the labels in that order; notes."""
    if source.kind == "columns":
        inputs, notes = read_numbers(path, decimal)
    elif source.kind == "text":
        inputs, match = read_texts(intake.table, source.columns[0], intake.item_column), "exact"
        notes = [counted(len(inputs), "text")]
    else:
        inputs = image_files(path)
        notes = [counted(len(inputs), "image")]
    return inputs, arrange(intake, list(inputs.index), match), notes


def features_of(kind: str, inputs: pd.DataFrame | pd.Series) -> pd.DataFrame:
    """By item: of texts ``[texts, 384]``, of image files ``[images, 1280]``; numbers are features as they are."""
    if kind == "columns":
        return inputs
    try:
        values = sentence_vectors.sentences(inputs.tolist()) if kind == "text" else _of_images(inputs.tolist())
    except ModuleNotFoundError as error:
        raise Refusal(f"{kind.removesuffix('s')}s need a pretrained network: {error}") from error
    return pd.DataFrame(values, inputs.index.rename("item"), [f"f{i}" for i in range(values.shape[1])])


def read_numbers(path: str | Path, decimal: str = "", columns: tuple[str, ...] = ()) -> tuple[pd.DataFrame, list[str]]:
    """A table of numbers, whose first column names the item, and notes.

    ``decimal`` is ``,`` if numbers have a decimal comma (assumed in a file with semicolons); ``columns`` are those that are
    needed, in this order, all by default. Raises a Refusal for no numbers, an empty cell, a value that is not a finite number,
    an item twice or without a name.
    """
    table = read_table(path)
    frame = table.frame
    if frame.shape[1] < 2:
        raise Refusal(
            f"{table.path.name}: expected a column of item names and at least one of numbers, found {shown(frame.columns)}"
        )
    if lost := [name for name in columns if name not in frame.columns[1:]]:
        raise Refusal(
            f"{table.path.name}: the classifier needs the columns {shown(columns)}; missing: {shown(lost)}. Found are "
            f"{shown(frame.columns)}, of which the first names the item"
        )
    items = frame.iloc[:, 0].str.strip()
    if (items == "").any():
        raise Refusal(f"{table.place((items == '').argmax())}: a row without the name of its item")
    if (again := items.duplicated()).any():
        row = again.argmax()
        raise Refusal(
            f"{table.place(row)}: item {items[row]!r} again; expected one row per item, found {int(again.sum())} too many"
        )
    names = list(columns or frame.columns[1:])
    comma = decimal == "," or (table.separator == ";" and decimal == "")
    values = {name: _numbers(table, name, comma) for name in names}
    features = pd.DataFrame(values, index=pd.Index(items, name=frame.columns[0]))
    flat = [name for name in names if features[name].min() == features[name].max()]
    notes = [*table.notes, f"{counted(len(features), 'item')} with {counted(len(names), 'feature')}"]
    if flat and not columns:
        notes.append(f"features that are the same for all items, and therefore of no use: {shown(flat)}")
    return features, notes


def _numbers(table: TextTable, name: str, comma: bool) -> np.ndarray:
    cells = table.frame[name].str.strip().str.replace("\N{MINUS SIGN}", "-", regex=False)
    plain = cells.str.replace(",", ".", regex=False) if comma else cells
    values = pd.to_numeric(plain, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong) == 0:
        return values
    found = cells.iloc[wrong[0]]
    if re.fullmatch(r"-?\d+,\d+", found):
        how = "say --decimal , if these are decimal commas; if they separate thousands, remove them"
    elif len(wrong) > len(values) / 2:
        how = (
            "remove the column or code its values as numbers; items are named in the first column, texts belong in a column of "
            "the labels file (--text)"
        )
    else:
        how = "fill in the cell or remove the row"
    raise Refusal(
        f"{table.place(int(wrong[0]))}: column {name!r} must hold finite numbers, found {found!r}; "
        f"{counted(len(wrong), 'such cell')}. To fix it, {how}"
    )


def read_texts(table: TextTable, column: str, item: str) -> pd.Series:
    """One text per item, indexed by its name. Raises a Refusal without such a column, or where an item has no name, no text or
    two texts."""
    frame = table.frame
    if column not in frame.columns:
        raise Refusal(f"{table.path.name} has no column {column!r} of texts; its columns are {shown(frame.columns, 20)}")
    item = item if item in frame.columns else column
    texts = pd.DataFrame({"item": frame[item].str.strip(), "text": frame[column]})
    for name, what in (("item", "the name of its item"), ("text", f"a text in column {column!r}")):
        if (empty := texts[name].str.strip() == "").any():
            rows = counted(int(empty.sum()), "such row")
            raise Refusal(f"{table.place(int(empty.argmax()))}: a row without {what}; {rows}. Fill it in or remove the row")
    texts = texts.drop_duplicates()
    if (again := texts["item"].duplicated()).any():
        raise Refusal(
            f"item {texts['item'][again].iloc[0]!r} (column {item!r}) has two different texts in column {column!r}; expected "
            "one text per item"
        )
    return texts.set_index("item")["text"]


def image_files(folder: str | Path) -> pd.Series:
    """The images in a folder and its subfolders, indexed by their path in it. Raises a Refusal where there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise Refusal(f"there is no folder {folder} of images")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not found:
        raise Refusal(f"there is no image in {folder}; expected files ending in {', '.join(sorted(ENDINGS))}")
    return pd.Series(found, index=[path.relative_to(folder).as_posix() for path in found], dtype=object)


def _of_images(files: list[Path]) -> np.ndarray:
    """``[images, 1280]``; each image is brought to the same size by itself, so its features depend on no other image."""
    parts = []
    for start in range(0, len(files), CHUNK):
        pixels = np.stack([_pixels(path) for path in files[start : start + CHUNK]])
        parts.append(image_features.features(pixels.transpose(0, 3, 1, 2)))
    return np.concatenate(parts)


def _pixels(path: Path) -> np.ndarray:
    """``[SIDE, SIDE, 3]`` uint8, as a viewer would turn the image."""
    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(upright.resize((image_features.SIDE, image_features.SIDE), Image.Resampling.BILINEAR))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file; whatever is wrong with it, now or when its pixels are read, becomes a Refusal with its name."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # palettes with transparency
            if image.mode[0] in "IF":
                raise ValueError(f"expected 8 bits per color, found pixels of mode {image.mode}; convert it")
            yield image
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise Refusal(f"{path} cannot be read as an image: {error}") from error


def arrange(intake: Intake, names: list[str], match: str = "exact") -> Intake:
    """The labels with the items of the features, in their order; some may have no label. Raises a Refusal where a labeled item
    has no features, which names the comparison that would find them."""
    crowd = intake.crowd
    place = _places(crowd.item_names, names, match)
    if (place < 0).any():
        lost = [name for name, row in zip(crowd.item_names, place, strict=True) if row < 0]
        helps = [other for other in MATCHES if (_places(crowd.item_names, names, other) >= 0).all()]
        there = {MATCHES[match](name) for name in names}
        if helps:
            hint = f"Compared by {helps[0]}, all match: say --match {helps[0]}"
        elif several := [name for name in lost if MATCHES[match](name) in there]:
            hint = f"Compared by {match}, several of these are {shown(several)}; rename them"
        elif len(lost) == crowd.n_items:
            hint = "None matches: the first column of a table must name the item, and files are called as the items are"
        else:
            hint = "Add their features, or remove their labels"
        raise Refusal(
            f"{len(lost)} of {crowd.n_items} labeled items have no features: {shown(lost)}; there are features for "
            f"{shown(names)}. {hint}"
        )
    if len(np.unique(place)) < len(place):
        raise Refusal(f"compared by {match}, several labeled items match the same item of the features; rename them")
    known = np.full(len(names), -1)
    known[place] = intake.known
    crowd = replace(crowd, item=place[crowd.item], n_items=len(names), item_names=names)
    return replace(intake, crowd=crowd, known=known)


def _places(wanted: tuple[str, ...], names: list[str], match: str) -> np.ndarray:
    """Position of each wanted name among the others, -1 if it is there not once."""
    key = MATCHES[match]
    places = pd.Series(np.arange(len(names)), index=[key(name) for name in names])
    places = places[~places.index.duplicated(keep=False)]
    return places.reindex([key(name) for name in wanted]).fillna(-1).to_numpy(dtype=np.int64)
