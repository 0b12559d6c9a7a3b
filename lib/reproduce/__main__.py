"""The command line: run the notebooks, compare with the reference, make the committed notebooks.

    python -m lib.reproduce                     all notebooks at quick, retrained, then the drift report
    python -m lib.reproduce --list              what there is
    python -m lib.reproduce --only 10 --scale paper --seeds 0 1 2 --device cuda
    python -m lib.reproduce --in-place          make the committed notebooks, from reference rows alone

Exit code 0: all went well (drift included: it is a report); 1: a run or a notebook failed, a disk is full or read-only, a
cluster was lost; 2: something was asked for that does not exist; 130: interrupted; 141: the output's reader has gone; 143:
terminated. Whatever ended a command, the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import signal
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from lib import paths
from lib.reproduce import execution, notebooks
from lib.reproduce.flags import UsageError, check, parser
from lib.reproduce.notebooks import Notebook, dumps, normalize
from lib.runs import ledger
from lib.storage import drop_output, write_atomically

NEWS_EVERY = 30  # seconds between lines about runs where no terminal shows a bar


class Failure(RuntimeError):
    """A command cannot go on; the message is all there is to say."""


class Terminated(BaseException):
    """Somebody ended this process by SIGTERM."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: what follows the program's name (default: those of this process).

    Returns:
        The exit code; see the module.
    """
    given = list(sys.argv[1:] if words is None else words)
    again = shlex.join(["python", "-m", "lib.reproduce", *[word for word in given if word != "--fresh"]])
    code = 1
    try:
        options = parser().parse_args(given)
        check(options)
        with _terminates():
            code = _mode(options)(options)
            sys.stdout.flush()  # here, where a reader that has gone is noticed
            return code
    except SystemExit as stop:  # argparse: --help or a mistake, which it has told already
        return int(stop.code or 0)
    except (UsageError, notebooks.NotebookError) as error:
        code, told = 2, f"error: {error}"
    except BrokenPipeError:
        drop_output()
        code, told = 141, f"The reader of the output has gone. Finished runs are kept; to go on from here: {again}"
    except ledger.LedgerError as error:
        told = f"error: {error}"
    except (Failure, OSError) as error:
        told = f"error: {error}. Finished runs are kept; to go on from here: {again}"
    except KeyboardInterrupt:
        code, told = 130, f"\nInterrupted. Finished runs are kept; to go on from here: {again}"
    except Terminated:
        code, told = 143, f"\nTerminated. Finished runs are kept; to go on from here: {again}"
    with suppress(OSError):
        print(told, file=sys.stderr)
    return code


@contextmanager
def _terminates() -> Iterator[None]:
    """SIGTERM, which batch systems send, ends a command as Ctrl-C does: in order, and with a word."""

    def terminate(number, frame) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _mode(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    if options.list:
        return _list
    if options.merge:
        return _merge
    return _make_in_place if options.in_place else _pass


# ---------------------------------------------------------------------- the short modes


def _list(options: argparse.Namespace) -> int:
    from lib.results import minutes

    lines, measured = [("notebook", "reproduces", "data", "retrained in", "last verdicts")], minutes.read()
    for notebook in notebooks.select(options.only):
        took = [f"{line.scale}: {minutes.words(line.minutes)}" for line in measured if line.what == notebook.stem]
        told = (notebook.reproduces, ", ".join(notebook.data), ", ".join(took), _verdicts(notebook))
        lines.append((notebook.stem, *(text or "-" for text in told)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def _verdicts(notebook: Notebook) -> str:
    path = paths.figures(notebook.stem) / "claims.json"
    if not path.exists():
        return "-"
    try:
        counts = Counter(claim["verdict"] for claim in json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        return f"cannot read {path.name}"
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) or "-"


def _merge(options: argparse.Namespace) -> int:
    from lib.results import minutes

    if options.merge.suffix == ".csv":
        if not options.merge.exists():
            raise UsageError(f"{options.merge} does not exist")
        try:
            taken = minutes.take_in(minutes.read(options.merge))
        except ValueError as error:
            raise UsageError(str(error)) from error
        print(f"Measured minutes taken in: {taken}; python -m lib.reproduce --in-place shows them")
        return 0
    try:
        summary = ledger.merge(options.merge)
    except ValueError as error:
        raise UsageError(str(error)) from error
    print(f"Rows added to the reference: {summary['added']}, there already: {summary['already']}")
    return 0


def _make_in_place(options: argparse.Namespace) -> int:
    chosen = notebooks.select(options.only)
    missing = execution.without_data(chosen)
    _, failed = _follow(execution.in_place([n for n in chosen if n.stem not in missing]), options.workers)
    _tell_skipped(missing)
    _tell_failed(failed)
    written = _write_pages() if not failed else []
    if written:
        print(f"Written: {', '.join(written)}")
    return 1 if failed else 0


def _write_pages() -> list[str]:
    """Each notebook's first cell, then README, RESULTS.md and notebooks/README.md, from the claims that there are now."""
    from lib.results import pages

    if not paths.README.exists() or "<!-- generated:" not in paths.README.read_text(encoding="utf-8"):
        return []
    try:
        project = pages.Project()
        changed = []
        for stem, source in pages.headers(project).items():
            path = paths.NOTEBOOKS / f"{stem}.ipynb"
            text = dumps(normalize(pages.with_header(project.notebooks[stem], source)))
            if text != path.read_text(encoding="utf-8"):
                write_atomically(path, text)
                changed.append(path.name)
        return changed + pages.write_pages(pages.Project())
    except ValueError as error:
        raise UsageError(str(error)) from error


# ---------------------------------------------------------------------- a pass


def _pass(options: argparse.Namespace) -> int:
    """Train the union of the grids, run the notebooks, report drift; what is missing or fails is told at the end."""
    scale = options.scale or "quick"
    chosen, missing, grids = _prepare(options, scale)
    if options.keep or options.runs_only:
        return _work(options, scale, chosen, missing, grids, None)
    about = {"notebooks": [n.stem for n in chosen], "scale": scale, "seeds": options.seeds}
    with execution.Pass(about, options.fresh) as fresh:
        if fresh.resumed:
            print(f"Going on with the unfinished pass in {fresh.folder} (--fresh begins again)", flush=True)
        return _work(options, scale, chosen, missing, grids, fresh)


def _work(options, scale: str, chosen: list[Notebook], missing: dict, grids: dict, fresh: execution.Pass | None) -> int:
    begun, folder = time.monotonic(), fresh.folder if fresh else None
    configs = execution.union(grids)
    if options.shard:
        part, parts = options.shard
        configs = {key: config for key, config in configs.items() if int(key, 16) % parts == part - 1}
    deadline = None if options.budget is None else time.time() + options.budget
    done = len(_there(configs, folder))
    print(f"Scale {scale}, notebooks: {len(grids)}, runs: {len(configs)}, done before: {done}", flush=True)
    failed = _train(options, configs, folder, deadline, done)
    there = _there(configs, folder)
    left = {
        stem: count for stem, grid in grids.items() if (count := len({c.key() for c in grid} & configs.keys() - there.keys()))
    }
    if not options.runs_only:
        late = deadline is not None and time.time() > deadline
        ready = [n for n in chosen if n.stem in grids and n.stem not in left and not late]
        left |= {stem: 0 for stem in grids if late and stem not in left}
        seconds, broken = _follow(execution.orders(ready, _given(options), scale, _figures(scale), folder), options.workers)
        failed += broken
        _tell_drift(configs, folder)
        if fresh and not _given(options) and not options.scheduler:
            whole = not done and not failed and not left and not missing and options.only is None
            _keep_minutes(options, scale, grids, there, seconds, time.monotonic() - begun if whole else None)
    _tell_skipped(missing)
    _tell_left(left, deadline)
    _tell_failed(failed)
    if fresh:
        fresh.complete = not failed and not left
    return 1 if failed or (left and deadline is None) else 0


def _prepare(options: argparse.Namespace, scale: str) -> tuple[list[Notebook], dict, dict]:
    """Check all that was asked for before anything runs: the notebooks, those without data, and the others' grids."""
    from lib import protocols
    from lib.training.device import check_device

    chosen = notebooks.select(options.only)
    try:
        protocols.check_scale(scale)
        if options.scheduler is None:
            check_device(options.device or "cpu")
        if not options.runs_only:
            execution.orders(chosen, _given(options), scale)
        missing = execution.without_data(chosen)
        grids = execution.plan([n for n in chosen if n.stem not in missing], scale, options.seeds)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return chosen, missing, grids


def _given(options: argparse.Namespace) -> dict[str, object]:
    """The parameters to inject besides the scale: only what was asked for, so that the notebooks' defaults hold."""
    asked = {"seeds": options.seeds, "device": options.device}
    return {name: value for name, value in asked.items() if value is not None} | dict(options.parameter or ())


def _keep_minutes(options, scale: str, grids: dict, rows: dict, seconds: dict[str, float], whole: float | None) -> None:
    """Write down how long the pass's notebooks took, each as if alone, and the whole pass where nothing was done before."""
    from lib.results import minutes
    from lib.runs.workers import processors

    workers = options.workers or processors()
    lines = []
    for stem, own in seconds.items():
        training = sum(rows[key]["seconds"] for key in {config.key() for config in grids[stem]})
        lines.append(minutes.measured(stem, scale, training / workers + own, workers))
    lines += [minutes.measured(minutes.EVERYTHING, scale, whole, workers)] if whole is not None else []
    if lines:
        path = paths.build() / minutes.NAME
        minutes.take_in(lines, path)
        print(f"Minutes of each notebook: {path}")


def _figures(scale: str) -> Callable[[str], Path]:
    # Smoke numbers mean nothing, so they do not go where the committed figures are.
    return (lambda stem: paths.build() / "figures" / stem) if scale == "smoke" else paths.figures


def _there(configs: dict, folder: Path | None) -> dict[str, dict]:
    """The rows of the runs that need not be trained any more, by the same rule as ``sweep``."""
    experiments = sorted({config.experiment for config in configs.values()})
    if folder is None:
        rows = ledger.lookup(experiments)
    else:
        rows = {row["key"]: row for name in experiments for row in ledger.own_rows(name, folder)}
    return {key: rows[key] for key, config in configs.items() if key in rows and ledger.has_arrays(rows[key], config.keep)}


def _train(options: argparse.Namespace, configs: dict, folder: Path | None, deadline: float | None, done: int) -> list[str]:
    """Train what is not there; returns the messages of what failed."""
    from lib.runs import sweep

    if not configs:
        return []
    begun = time.monotonic()
    watched = sys.stderr.isatty()
    trained = _OnRow(options.out, folder, len(configs) - done, quiet=watched)
    failed = []
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
                on_row=trained,
            )
    except sweep.RunFailed as error:
        failed = [str(error)]
    if trained.count:
        print(f"Runs trained: {trained.count} in {time.monotonic() - begun:.0f} s", flush=True)
    if options.out is not None:
        _hand_out(configs, folder, options.out)
    return failed


class _OnRow:
    """Called with each row that was trained: hands it out at once, since a borrowed machine may be gone any moment."""

    def __init__(self, out: Path | None, folder: Path | None, total: int, quiet: bool) -> None:
        self.out, self.folder, self.total, self.quiet = out, folder, total, quiet
        self.count, self.told = 0, time.monotonic()

    def __call__(self, row: dict) -> None:
        self.count += 1
        if self.out is not None:
            ledger.copy(row, self.folder, self.out)
        if not self.quiet and time.monotonic() - self.told > NEWS_EVERY:
            self.told = time.monotonic()
            print(f"  {self.count} of {self.total} runs", flush=True)


def _hand_out(configs: dict, folder: Path | None, out: Path) -> None:
    """Also the rows that an earlier, interrupted command has made and that the reference lacks."""
    known = {row["key"] for row in ledger.reference_rows()} if folder is None else set()
    rows = [row for name in sorted({c.experiment for c in configs.values()}) for row in ledger.own_rows(name, folder)]
    new = [row for row in rows if row["key"] in configs.keys() - known]
    for row in new:
        ledger.copy(row, folder, out)
    print(f"Ledger rows in {out}: {len(new)}; python -m lib.reproduce --merge takes them in")


@contextmanager
def _executor(address: str | None, datasets: set[str]) -> Iterator:
    """A Dask cluster as an executor; None, for local processes, without an address."""
    if address is None:
        yield None
        return
    from lib.runs import cluster

    reached = False
    try:
        with cluster.connected(address, datasets) as executor:
            reached = True
            yield executor
    except ImportError as error:
        raise UsageError("--scheduler needs the package distributed (see requirements.txt)") from error
    except cluster.ClusterError as error:
        raise (Failure if reached else UsageError)(str(error)) from error


# ---------------------------------------------------------------------- telling


def _follow(todo: Sequence[execution.Order], workers: int | None) -> tuple[dict[str, float], list[str]]:
    """Run notebooks and say how each ended; returns the seconds of those that ended well, and the messages of the others."""
    seconds, failed = {}, []
    width = max((len(order.notebook.stem) for order in todo), default=0)
    with tqdm(total=len(todo), desc="notebooks", disable=None) as bar:  # None: only at a terminal
        for outcome in execution.run_notebooks(todo, workers):
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
    experiments = sorted({config.experiment for config in configs.values()})
    rows = [row for name in experiments for row in ledger.own_rows(name, folder) if row["key"] in configs]
    if not rows:
        return
    from lib.results import drift

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


def _tell_failed(failed: Iterable[str]) -> None:
    failed = list(failed)
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
