"""The command line: run the notebooks, compare with the reference, make the committed notebooks.

    python -m lib.reproduce                     all notebooks at quick, retrained, then the drift report
    python -m lib.reproduce --list              what there is
    python -m lib.reproduce --only 10 --scale paper --seeds 0 1 2 --device cuda
    python -m lib.reproduce --in-place          make the committed notebooks, from reference rows alone

Exit code 0: all went well (drift included: it is a report); 1: a run or a notebook failed, a disk is full or read-only, a
cluster was lost; 2: something was asked for that does not exist; 130: interrupted; 141: the output's reader has gone; 143:
terminated. Whatever ended a command, the same command goes on from there.
"""

import argparse
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from tqdm import tqdm

from lib import paths
from lib.reproduce import execution, notebooks
from lib.reproduce.flags import UsageError, check, parser
from lib.reproduce.notebooks import Notebook, NotebookError, dumps, normalize
from lib.results import minutes, verdicts
from lib.runs import ledger
from lib.runs.workers import processors, warm_up
from lib.storage import drop_output, open_closed, terminated_as_interrupted, write_atomically

NEWS_EVERY = 30  # seconds between lines about runs where no terminal shows a bar


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line on some words, by default those of this process; returns the exit code, see the module."""
    open_closed()
    given = list(sys.argv[1:] if words is None else words)
    code, told, go_on = 1, "", True
    try:
        with terminated_as_interrupted():
            options = parser().parse_args(given)
            check(options)
            code = _mode(options)(options)
            print(end="", flush=True)  # here, where a reader that has gone is noticed
            return code
    except SystemExit as stop:  # argparse: --help or a mistake, which it has told already
        return int(stop.code or 0)
    except (UsageError, NotebookError) as error:
        code, told, go_on = 2, f"error: {error}", False
    except ledger.LedgerError as error:
        told, go_on = f"error: {error}", False
    except BrokenPipeError:
        drop_output()
        code, told = 141, "The reader of the output has gone."
    except OSError as error:
        code, told = 1, f"error: {error}."
    except KeyboardInterrupt as stop:
        code, told = (143, "\nTerminated.") if stop.args else (130, "\nInterrupted.")
    if go_on:
        again = shlex.join(["python", "-m", "lib.reproduce", *[word for word in given if word != "--fresh"]])
        told += f" Finished runs are kept; to go on from here: {again}"
    with suppress(OSError):
        print(told, file=sys.stderr)
    return code


def _mode(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    if options.list:
        return _list
    if options.merge:
        return _merge
    return _make_in_place if options.in_place else _pass


@contextmanager
def _asked() -> Iterator[None]:
    """What is wrong in here is wrong with what was asked for."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error


# ---------------------------------------------------------------------- the short modes


def _list(options: argparse.Namespace) -> int:
    lines = [("notebook", "reproduces", "data", "retrained in", "headline claims")]
    with _asked():
        measured, claims = minutes.read(), verdicts.load(paths.figures()).values()
    for notebook in notebooks.select(options.only):
        took = [f"{line.scale}: {minutes.words(line.minutes)}" for line in measured if line.what == notebook.stem]
        # One by one, and of headlines alone: the others are of several origins, and counts never mix origins.
        found = [claim.verdict for claim in claims if claim.headline and claim.notebook == notebook.stem]
        told = (notebook.reproduces, ", ".join(notebook.data), ", ".join(took), ", ".join(found))
        lines.append((notebook.stem, *(text or "-" for text in told)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def _merge(options: argparse.Namespace) -> int:
    with _asked():
        if options.merge.suffix != ".csv":
            summary = ledger.merge(options.merge)
            print(f"Rows added to the reference: {summary['added']}, there already: {summary['already']}")
            return 0
        if not options.merge.exists():
            raise UsageError(f"{options.merge} does not exist")
        taken = minutes.take_in(minutes.read(options.merge))
    print(f"Measured minutes taken in: {taken}; python -m lib.reproduce --in-place shows them")
    return 0


def _make_in_place(options: argparse.Namespace) -> int:
    chosen = notebooks.select(options.only)
    missing = execution.without_data(chosen)
    _, failed = _follow([n for n in chosen if n.stem not in missing], options.workers, in_place=True)
    _tell_skipped(missing)
    _tell_failed(failed)
    written = _write_pages() if not failed else []
    if written:
        print(f"Written: {', '.join(written)}")
    return 1 if failed else 0


def _write_pages() -> list[str]:
    """Each notebook's first cell, then README, RESULTS.md and notebooks/README.md, from the claims that there are now."""
    from lib.results import pages

    with _asked():
        project, changed = pages.Project(), []
        for stem, source in pages.headers(project).items():
            path = paths.NOTEBOOKS / f"{stem}.ipynb"
            text = dumps(normalize(pages.with_header(project.notebooks[stem], source)))
            if text != path.read_text(encoding="utf-8"):
                write_atomically(path, text)
                changed.append(path.name)
        return changed + pages.write_pages(pages.Project())


# ---------------------------------------------------------------------- a pass


def _pass(options: argparse.Namespace) -> int:
    """Train the union of the grids, so that runs which several notebooks share are made once; run the notebooks, each with the
    fresh rows; report drift; tell at the end what is missing or failed."""
    scale, workers = options.scale or "quick", options.workers or processors()
    if workers > 1 and options.scheduler is None:
        warm_up()
    from lib.runs.config import each_once  # with torch

    asked = {"seeds": options.seeds, "device": options.device}  # or the notebooks' defaults
    given = {name: value for name, value in asked.items() if value is not None} | dict(options.parameter or ())
    chosen, missing, grids = _prepare(options, {"scale": scale} | given)
    wanted = {stem: {config.key() for config in grid} for stem, grid in grids.items()}
    configs = each_once(config for grid in grids.values() for config in grid)
    if options.shard:
        part, parts = options.shard
        configs = {key: config for key, config in configs.items() if int(key, 16) % parts == part - 1}
    deadline = None if options.budget is None else time.time() + options.budget
    about = {"notebooks": [n.stem for n in chosen], "scale": scale, "seeds": options.seeds}
    with nullcontext() if options.keep or options.runs_only else execution.Pass(about, options.fresh) as fresh:
        folder = fresh.folder if fresh else None
        if fresh and fresh.resumed:
            print(f"Going on with the unfinished pass in {folder} (--fresh begins again)", flush=True)
        done = len(ledger.finished(configs, folder))
        print(f"Scale {scale}, notebooks: {len(grids)}, runs: {len(configs)}, done before: {done}", flush=True)
        with fresh.timed(workers) if fresh else nullcontext():
            failed = _train(options, configs, folder, deadline, len(configs) - done)
        rows = ledger.finished(configs, folder)
        absent = {stem: len(keys & configs.keys() - rows.keys()) for stem, keys in wanted.items()}
        late = deadline is not None and time.time() > deadline and not options.runs_only
        left = {stem: count for stem, count in absent.items() if count or late}
        if not options.runs_only:
            ready = [n for n in chosen if n.stem in grids and n.stem not in left]
            seconds, broken = _follow(ready, options.workers, parameters={"scale": scale} | given, runs=folder)
            failed += broken
            _tell_drift(configs, folder)
            if fresh and not given and not options.scheduler:
                runs = {stem: wanted[stem] for stem in seconds}
                if not (failed or left or missing or options.only):
                    runs[minutes.EVERYTHING], seconds[minutes.EVERYTHING] = set(rows), sum(seconds.values()) / workers
                _keep_minutes(scale, workers, seconds, runs, rows, fresh.seconds)
        _tell_skipped(missing)
        _tell_left(left, deadline)
        _tell_failed(failed)
        if fresh:
            fresh.complete = not failed and not left
    return 1 if failed or (left and deadline is None) else 0


def _prepare(options: argparse.Namespace, parameters: Mapping) -> tuple[list[Notebook], dict, dict]:
    """Check all that was asked for before anything runs: the notebooks, those without data, and the runs of each other one."""
    from lib import protocols
    from lib.training.device import check_device

    chosen = notebooks.select(options.only)
    with _asked():
        protocols.check_scale(parameters["scale"])
        if options.scheduler is None:
            check_device(options.device or "cpu")
        for notebook in chosen:
            notebooks.check_parameters(notebook, parameters)
        missing = execution.without_data(chosen)
        able = [notebook for notebook in chosen if notebook.stem not in missing]
        seeds = {n.stem: options.seeds or n.defaults.get("seeds") for n in able}
        grids = {stem: protocols.grid(stem, parameters["scale"], each) for stem, each in seeds.items()}
    return chosen, missing, grids


def _keep_minutes(scale: str, workers: int, own: dict, runs: dict[str, set[str]], rows: dict, spent: float) -> None:
    """Write down how long notebooks took, each as if alone: its ``own`` seconds, and those of its runs, by key; for the
    ``rows`` of all runs together, processes were at work ``spent`` seconds."""
    trained = sum(row["seconds"] for row in rows.values())
    # Loading data and making features belong to no run; the runs share that evenly.
    stretch = max(1.0, spent / trained) if trained else 1.0
    took = {what: own[what] + stretch * sum(rows[key]["seconds"] for key in keys) / workers for what, keys in runs.items()}
    if took:
        path = paths.build() / minutes.NAME
        minutes.take_in([minutes.measured(what, scale, each, workers) for what, each in took.items()], path)
        print(f"Minutes of each notebook: {path}")


def _train(options: argparse.Namespace, configs: dict, folder: Path | None, deadline: float | None, total: int) -> list[str]:
    """Train what is not there; returns the messages of what failed."""
    from lib.runs import sweep

    if not configs:
        return []
    begun, watched = time.monotonic(), sys.stderr.isatty()
    trained, told, failed = [], [begun], []

    def on_row(row: dict) -> None:
        trained.append(row["key"])
        if options.out is not None:  # at once, since a borrowed machine may be gone any moment
            ledger.copy(row, folder, options.out)
        if not watched and time.monotonic() - told[-1] > NEWS_EVERY:
            told.append(time.monotonic())
            print(f"  {len(trained)} of {total} runs", flush=True)

    try:
        with _executor(options.scheduler, {config.dataset for config in configs.values()}) as executor:
            sweep.sweep(
                list(configs.values()),
                folder=folder,
                executor=executor,
                workers=options.workers,
                device=options.device or "cpu",
                progress=watched,
                deadline=deadline,
                on_row=on_row,
            )
    except sweep.RunFailed as error:
        failed = [str(error)]
    if trained:
        print(f"Runs trained: {len(trained)} in {time.monotonic() - begun:.0f} s", flush=True)
    if options.out is not None:  # also the rows that an earlier, interrupted command has made and that the reference lacks
        known = {row["key"] for row in ledger.reference_rows()} if folder is None else set()
        new = [row for row in _own_rows(configs, folder) if row["key"] not in known]
        for row in new:
            ledger.copy(row, folder, options.out)
        print(f"Ledger rows in {options.out}: {len(new)}; python -m lib.reproduce --merge takes them in")
    return failed


def _own_rows(configs: dict, folder: Path | None) -> list[dict]:
    experiments = sorted({config.experiment for config in configs.values()})
    return [row for name in experiments for row in ledger.own_rows(name, folder) if row["key"] in configs]


def _executor(address: str | None, datasets: set[str]) -> AbstractContextManager[Executor | None]:
    """A Dask cluster; None, for local processes, without an address."""
    if address is None:
        return nullcontext()
    from lib.runs import cluster

    try:
        return cluster.connect(address, datasets)
    except cluster.ClusterError as error:
        raise UsageError(str(error)) from error


# ---------------------------------------------------------------------- telling


def _follow(chosen: Sequence[Notebook], workers: int | None, **how) -> tuple[dict[str, float], list[str]]:
    """Run notebooks and say how each ended; returns the seconds of those that ended well, and the messages of the others."""
    seconds, failed = {}, []
    width = max((len(notebook.stem) for notebook in chosen), default=0)
    with tqdm(total=len(chosen), desc="notebooks", disable=None) as bar:  # None: only at a terminal
        for outcome in execution.run_notebooks(chosen, workers, **how):
            word = "FAILED" if outcome.error else f"ok  {outcome.seconds:5.1f} s"
            tqdm.write(f"  {outcome.stem.ljust(width)}  {word}")
            sys.stdout.flush()
            bar.update()
            if outcome.error:
                failed.append(outcome.error)
            else:
                seconds[outcome.stem] = outcome.seconds
    return seconds, failed


def _tell_drift(configs: dict, folder: Path | None) -> None:
    if not (rows := _own_rows(configs, folder)):
        return
    from lib.results import drift

    experiments = sorted({row["config"]["experiment"] for row in rows})
    frame = drift.compare(rows, [row for name in experiments for row in ledger.reference_rows(name)])
    drift.write(frame, paths.build() / "drift.csv")
    print("\n" + "\n".join(part for part in (drift.table(frame), drift.summary(frame)) if part))
    print(f"All numbers: {paths.build() / 'drift.csv'}")


def _tell_skipped(missing: dict[str, list[tuple[str, str]]]) -> None:
    if not missing:
        return
    reasons = {name: reason for pairs in missing.values() for name, reason in pairs}
    lines = [("notebook", "needs the data of")]
    lines += [(stem, ", ".join(name for name, _ in pairs)) for stem, pairs in missing.items()]
    _table("Skipped for want of data", lines)
    _table("", [("data set", "why, and how to get it"), *sorted(reasons.items())])


def _tell_left(left: dict[str, int], deadline: float | None) -> None:
    if left:
        why = "the time was up; the same command goes on" if deadline is not None else "runs failed"
        lines = [(stem, f"runs missing: {count}" if count else "runs complete") for stem, count in left.items()]
        _table(f"Not run: {why}", [("notebook", "state"), *lines])


def _tell_failed(failed: Sequence[str]) -> None:
    if failed:
        print(f"\nFailed: {len(failed)}")
    for message in failed:
        print(f"  {message}")


def _table(title: str, lines: Sequence[tuple[str, str]]) -> None:
    """Two columns, the second wrapped to the terminal."""
    width = max(len(first) for first, _ in lines)
    room = max(shutil.get_terminal_size((120, 24)).columns - width - 4, 40)
    print(f"\n{title}" if title else "")
    for first, second in lines:
        wrapped = textwrap.wrap(second, room, break_long_words=False, break_on_hyphens=False) or [""]
        for position, text in enumerate(wrapped):
            print(f"  {(first if not position else '').ljust(width)}  {text}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
