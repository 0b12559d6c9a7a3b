"""What a classifier sees of each item: numbers from a table, or features of a text or an image from a frozen network."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from lib.crowd.labels import CrowdLabels
from lib.datasets import image_features, sentence_vectors
from lib.own_data.intake import Intake, folded
from lib.own_data.tables import Refusal, TextTable, counted, read_table, shown

__all__ = ["MATCHES", "Source", "arrange", "read_numbers", "read_source"]

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
CHUNK = 256  # images in memory at a time
SIDE = 128  # pixels, of images of different sizes

# Ways to compare the names of items in two files.
MATCHES: dict[str, Callable[[str], str]] = {
    "exact": str,
    "number": lambda name: folded(name.strip()),
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
    """The features of all items, with the labels in their order.

    Args:
        intake: the labels.
        source: for a table, empty ``columns`` stand for all of them.
        path: of the table or the folder.
        match: a name in ``MATCHES``.
        decimal: ``,`` if numbers have a decimal comma.

    Returns:
        The features (a frame with one row per item), the intake in their order, and the source with its columns.

    Raises:
        Refusal: a labeled item without features, or features that are not numbers.
    """
    if source.kind == "columns":
        features, notes = read_numbers(path, decimal)
        return (
            features,
            arrange(replace(intake, notes=[*intake.notes, *notes]), list(features.index), match),
            Source("columns", tuple(features.columns)),
        )
    if source.kind == "text":
        column = source.columns[0]
        texts = read_texts(intake.table, column, intake.item_column)
        arranged = arrange(intake, list(texts.index), "exact")
        return text_features(texts), arranged, source
    files = image_files(path)
    arranged = arrange(intake, list(files.index), match)
    return image_features_of(files), arranged, source


def check(intake: Intake, source: Source, path: str | Path, match: str, decimal: str) -> str:
    """How the features are read, in words; no network is run.

    Raises:
        Refusal: as :func:`read_source`.
    """
    if source.kind == "columns":
        features, notes = read_numbers(path, decimal)
        names = list(features.index)
    elif source.kind == "text":
        names = list(read_texts(intake.table, source.columns[0], intake.item_column).index)
        notes = [counted(len(names), "text")]
    else:
        names = list(image_files(path).index)
        notes = [counted(len(names), "image")]
    unlabeled = (
        len(names)
        - arrange(intake, names, match if source.kind != "text" else "exact").crowd.labels_per_item.astype(bool).sum()
    )
    return "\n".join([f"features: {'; '.join(notes)}", f"items without a label: {unlabeled}"])


def text_features(texts: pd.Series) -> pd.DataFrame:
    """``[texts, 384]``, by item."""
    return _frame(_of_texts(texts.tolist()), texts.index)


def image_features_of(files: pd.Series) -> pd.DataFrame:
    """``[images, 1280]``, by item."""
    return _frame(_of_images(files.tolist()), files.index)


def read_numbers(path: str | Path, decimal: str = "", columns: tuple[str, ...] = ()) -> tuple[pd.DataFrame, list[str]]:
    """A table of numbers: the first column names the item.

    Args:
        path: of the file.
        decimal: ``,`` if numbers have a decimal comma (assumed in a file with semicolons).
        columns: those that are needed, in this order; all by default.

    Raises:
        Refusal: no numbers, an empty cell, a value that is not a finite number, an item twice or without a name.
    """
    table = read_table(path)
    frame = table.frame
    if frame.shape[1] < 2:
        raise Refusal(
            f"{table.path.name}: expected a column of item names and at least one of numbers, found {shown(frame.columns)}"
        )
    items = frame.iloc[:, 0].str.strip()
    if (items == "").any():
        raise Refusal(f"{table.place(int(np.flatnonzero(items == '')[0]))}: a row without the name of its item")
    if (again := items.duplicated()).any():
        row = int(np.flatnonzero(again)[0])
        raise Refusal(
            f"{table.place(row)}: item {items[row]!r} again; expected one row per item, found {int(again.sum())} too many"
        )
    if lost := [name for name in columns if name not in frame.columns[1:]]:
        raise Refusal(f"{table.path.name}: the classifier needs the columns {shown(columns)}; missing: {shown(lost)}")
    names = list(columns or frame.columns[1:])
    comma = decimal == "," or (table.separator == ";" and decimal == "")
    values = {name: _numbers(table, name, comma) for name in names}
    features = pd.DataFrame(values, index=pd.Index(items, name=frame.columns[0]))
    flat = [name for name in names if features[name].min() == features[name].max()]
    notes = [*table.notes, f"{counted(len(features), 'item')} with {counted(len(names), 'feature')}"]
    if flat and not columns:
        notes.append(f"the same for all items, and therefore of no use: {shown(flat)}")
    return features, notes


def _numbers(table: TextTable, name: str, comma: bool) -> np.ndarray:
    cells = table.frame[name].str.strip()
    values = pd.to_numeric(cells.str.replace(",", ".", regex=False) if comma else cells, errors="coerce").to_numpy(
        dtype=np.float64
    )
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong) == 0:
        return values
    found, place = cells.iloc[wrong[0]], table.place(int(wrong[0]))
    if re.fullmatch(r"-?\d+,\d+", found):
        how = "say --decimal , if these are decimal commas"
    elif len(wrong) > len(values) / 2:
        how = "remove the column or code its values as numbers; texts belong in a column of the labels file (--text)"
    else:
        how = "fill in the cell or remove the row"
    raise Refusal(
        f"{place}: column {name!r} must hold finite numbers, found {found!r}; {counted(len(wrong), 'such cell')}. To fix it, "
        f"{how}"
    )


def read_texts(table: TextTable, column: str, item: str) -> pd.Series:
    """One text per item, indexed by its name.

    Raises:
        Refusal: there is no such column, or an item has two texts.
    """
    frame = table.frame
    if column not in frame.columns:
        raise Refusal(f"{table.path.name} has no column {column!r} of texts; its columns are {shown(frame.columns, 20)}")
    items = frame[item].str.strip() if item in frame.columns else frame[column].str.strip()
    texts = pd.DataFrame({"item": items, "text": frame[column]}).drop_duplicates()
    if (again := texts["item"].duplicated()).any():
        raise Refusal(f"item {texts['item'][again].iloc[0]!r} has two different texts in column {column!r}")
    return texts.set_index("item")["text"]


def image_files(folder: str | Path) -> pd.Series:
    """The images in a folder and its subfolders, indexed by their path in it.

    Raises:
        Refusal: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise Refusal(f"there is no folder {folder} of images")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not found:
        raise Refusal(f"there is no image in {folder}; expected files ending in {', '.join(sorted(ENDINGS))}")
    return pd.Series(found, index=[path.relative_to(folder).as_posix() for path in found], dtype=object)


def arrange(intake: Intake, names: list[str], match: str = "exact") -> Intake:
    """The labels with the items of the features, in their order; some may have no label.

    Raises:
        Refusal: a labeled item has no features; names the comparison that would find them.
    """
    crowd = intake.crowd
    place = _places(list(crowd.item_names), names, MATCHES[match])
    if (place < 0).any():
        lost = [name for name, row in zip(crowd.item_names, place, strict=True) if row < 0]
        helps = [m for m in MATCHES if m != match and (_places(list(crowd.item_names), names, MATCHES[m]) >= 0).all()]
        hint = (
            f"Compared by {helps[0]}, all match: say --match {helps[0]}"
            if helps
            else "Add their features, or remove their labels"
        )
        raise Refusal(
            f"{len(lost)} of {crowd.n_items} labeled items have no features: {shown(lost)}; there are features for "
            f"{shown(names)}. {hint}"
        )
    if len(np.unique(place)) < len(place):
        raise Refusal(f"compared by {match}, several labeled items match the same item of the features; rename them")
    known = np.full(len(names), -1)
    known[place] = intake.known
    arranged = CrowdLabels(
        place[crowd.item],
        crowd.annotator,
        crowd.label,
        len(names),
        crowd.n_annotators,
        crowd.n_classes,
        names,
        crowd.annotator_names,
        crowd.class_names,
    )
    return replace(intake, crowd=arranged, known=known)


def _places(wanted: list[str], names: list[str], key: Callable[[str], str]) -> np.ndarray:
    """Position of each wanted name among the others, -1 if it is there not once."""
    keys = pd.Series([key(name) for name in names])
    places = pd.Series(np.arange(len(names)), index=keys)
    places = places[~places.index.duplicated(keep=False)]
    return places.reindex([key(name) for name in wanted]).fillna(-1).to_numpy(dtype=np.int64)


# ---------------------------------------------------------------------- frozen networks


def _of_texts(texts: list[str]) -> np.ndarray:
    try:
        return sentence_vectors.sentences(texts)
    except ModuleNotFoundError as error:
        raise Refusal(f"texts need a pretrained network: {error}") from error


def _of_images(files: list[Path]) -> np.ndarray:
    """``[images, 1280]`` of images of any size."""
    from PIL import Image

    parts = []
    sizes = set()
    for path in files:
        try:
            with Image.open(path) as image:
                sizes.add(image.size)
        except OSError as error:
            raise Refusal(f"{path.name} cannot be read as an image: {error}") from error
    size = sizes.pop() if len(sizes) == 1 else (SIDE, SIDE)
    for start in range(0, len(files), CHUNK):
        pixels = []
        for path in files[start : start + CHUNK]:
            with warnings.catch_warnings(), Image.open(path) as image:
                warnings.simplefilter("ignore")  # palettes with transparency
                pixels.append(np.asarray(image.convert("RGB").resize(size)))
        try:
            parts.append(image_features.features(np.stack(pixels).transpose(0, 3, 1, 2)))
        except ModuleNotFoundError as error:
            raise Refusal(f"images need a pretrained network: {error}") from error
    return np.concatenate(parts)


def _frame(values: np.ndarray, index) -> pd.DataFrame:
    return pd.DataFrame(values, index=pd.Index(index, name="item"), columns=[f"f{i}" for i in range(values.shape[1])])
