"""Your own labels in one command, from any folder.

python -m lib.own_data labels.csv --check                            show how the file is read, and stop
python -m lib.own_data labels.csv --out DIR                          a report on labels and annotators,
python -m lib.own_data labels.csv --features numbers.csv --out DIR   with a classifier of rows of numbers,
python -m lib.own_data labels.csv --text COLUMN --out DIR            of the texts in a column of the labels file,
python -m lib.own_data labels.csv --images FOLDER --out DIR          or of the images in a folder
python -m lib.own_data predict DIR/classifier NEW --out FILE.csv     classes for new items: a table, or a folder of images
"""

import argparse
import sys
import time
from dataclasses import fields
from pathlib import Path

import pandas as pd

from lib.own_data.classifier import check_enough, load
from lib.own_data.columns import Options
from lib.own_data.features import MATCHES, Source, check, features_of, image_files, read_numbers, read_texts
from lib.own_data.folder import FILES, check_place, leftover, safe_csv, settings_of, write
from lib.own_data.intake import read_labels
from lib.own_data.outcome import fit
from lib.own_data.page import sentences
from lib.own_data.tables import Refusal, counted, read_table
from lib.storage import drop_output, open_closed, terminated_as_interrupted, write_atomically
from lib.training.device import OutOfMemory, check_device


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Returns 0; 1 if there was too little memory or training diverged; 2 if a file was refused or could not
    be read or written; 130 after Ctrl-C; 143 after SIGTERM; 141 if the output's reader has gone."""
    open_closed()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with terminated_as_interrupted():
            if arguments[:1] == ["predict"]:
                _predict(_prediction_parser().parse_args(arguments[1:]))
            else:
                _run(_parser().parse_args(arguments))
            print(end="", flush=True)  # here, where a reader that has gone is noticed
    except BrokenPipeError:
        drop_output()
        return 141
    except KeyboardInterrupt as stop:
        print("\nTerminated" if stop.args else "\nInterrupted", file=sys.stderr)
        return 143 if stop.args else 130
    except (MemoryError, FloatingPointError, OutOfMemory, Refusal, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, Refusal | OSError) else 1
    return 0


def _run(given: argparse.Namespace) -> None:
    options = Options(**{field.name: getattr(given, field.name) for field in fields(Options)})
    intake = read_labels(given.labels, options)
    print(intake.summary())
    source, path = None, given.features or given.images
    if given.text:
        source = Source("text", (given.text,))
    elif path:
        source = Source("columns" if given.features else "images")
    if source is not None:
        check_enough(intake.crowd)
    try:
        check_device(given.device)
    except ValueError as error:
        raise Refusal(str(error)) from error
    if given.check:
        if source is not None:
            print(check(intake, source, path, given.match, given.decimal))
        return
    if not given.out:
        raise Refusal("say where to write with --out FOLDER, or use --check to see only how the file is read")
    check_place(given.out, FILES, (given.labels, given.features, given.known))
    started = time.monotonic()
    outcome = fit(intake, source, path, options, given.match, given.decimal, device=given.device, progress=_say)
    _say("writing")
    extra = {"match": given.match, "decimal": given.decimal, "device": given.device}
    write(outcome, given.out, settings_of(options, given.labels, source, path, extra))
    told, warned = sentences(outcome)
    warned += [f"{name} in {given.out} is that of an earlier run" for name in leftover(outcome, given.out)]
    notes = outcome.intake.notes[len(intake.notes) :]  # those on the features; the summary has shown the others
    print("\n" + "\n".join([*(f"note: {text}" for text in notes), *told, *(f"warning: {text}" for text in warned)]))
    print(f"\n{time.monotonic() - started:.0f} s; the report is {Path(given.out) / 'report.html'}")


def _predict(given: argparse.Namespace) -> None:
    network, out = load(given.classifier), Path(given.out)
    check_place(out.parent, [out.name], (given.classifier, given.new))
    kind, columns = network.source.kind, network.source.columns
    if kind == "columns":
        new, _ = read_numbers(given.new, given.decimal, network.columns)
    elif kind == "text":
        table = read_table(given.new)
        new = read_texts(table, columns[0], table.frame.columns[0])
        if again := len(table.frame) - len(new):
            print(f"note: {counted(again, 'row')} left out that repeat an item and its text")
    else:
        new = image_files(given.new)
    prob = network.predict_proba(features_of(kind, new))
    labels = prob.columns[prob.to_numpy().argmax(axis=1)]
    table = pd.DataFrame({"item": prob.index, "label": labels, "confidence": prob.max(axis=1).to_numpy()})
    table = pd.concat([table, prob.rename(columns="p({})".format).reset_index(drop=True)], axis=1)
    write_atomically(out, safe_csv(table))
    print(f"{len(table)} items in {given.out}")


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lib.own_data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "labels", help="CSV, TSV, Excel, Parquet (also .gz), or an export of Mechanical Turk, Appen, Label Studio"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--features", metavar="CSV", default="", help="a table: first the item, then numbers")
    kind.add_argument("--text", metavar="COLUMN", default="", help="the column of the labels file that holds each item's text")
    kind.add_argument("--images", metavar="FOLDER", default="", help="a folder of images named after the items")
    parser.add_argument("--out", metavar="FOLDER", default="", help="where everything is written; nothing is written elsewhere")
    parser.add_argument("--check", action="store_true", help="show how the files are read, and stop")
    for role in ("item", "annotator", "label"):
        parser.add_argument(f"--{role}", metavar="COLUMN", default="", help=f"the column of {role}s, if its name does not tell")
    parser.add_argument("--classes", nargs="+", metavar="CLASS", default=(), help="all classes, in the order you want")
    parser.add_argument("--missing", nargs="+", metavar="WORD", default=(), help="words that stand for a missing label")
    parser.add_argument(
        "--merge-spellings", action="store_true", help="treat names that differ only in case, spaces, or as 0 and 0.0 as one"
    )
    which = "which of an annotator's labels for the same item counts"
    parser.add_argument("--duplicates", choices=["first", "last", "none"], default="", help=which)
    parser.add_argument("--known", metavar="FILE", default="", help="a table of items whose class is known: item, class")
    parser.add_argument("--known-column", metavar="COLUMN", default="", help="the column of the labels file with known classes")
    parser.add_argument("--trusted", metavar="ANNOTATOR", default="", help="an annotator whose labels are taken as the truth")
    parser.add_argument("--match", choices=list(MATCHES), default="exact", help="how item names in the two files are compared")
    parser.add_argument("--decimal", choices=[".", ","], default="", help="decimal mark of the features")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N, mps or auto")
    return parser


def _prediction_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.own_data predict", description="Classes for new items.")
    parser.add_argument("classifier", help="the file DIR/classifier that a run has written")
    parser.add_argument("new", help="a table with the same columns, or a folder of images")
    parser.add_argument("--out", metavar="FILE", required=True, help="the CSV file to write")
    parser.add_argument("--decimal", choices=[".", ","], default="", help="decimal mark of the features")
    return parser


if __name__ == "__main__":
    sys.exit(main())
