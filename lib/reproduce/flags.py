"""What can be asked of ``python -m lib.reproduce``: the flags, what their values may be, and which go together."""

import argparse
import ast
import re
from pathlib import Path

FLAGS_OF_A_PASS = ("scale", "seeds", "device", "workers", "budget", "out", "scheduler", "shard", "keep", "fresh", "parameter")


class UsageError(ValueError):
    """Something was asked for that does not exist or does not go together."""


def parser() -> argparse.ArgumentParser:
    """The flags and their help."""
    made = argparse.ArgumentParser(
        prog="python -m lib.reproduce", description="Run the notebooks again and compare with the reference."
    )
    modes = made.add_argument_group("what to do (default: run the notebooks)").add_mutually_exclusive_group()
    modes.add_argument("--list", action="store_true", help="list notebooks, what they reproduce, and how it came out")
    modes.add_argument("--runs-only", action="store_true", help="train the missing runs; needs no papermill")
    modes.add_argument("--in-place", action="store_true", help="make the committed notebooks from reference rows")
    modes.add_argument(
        "--merge", metavar="PATH", type=Path, help="take ledger rows made elsewhere, or minutes.csv, into the reference"
    )
    made.add_argument("--only", nargs="+", metavar="NOTEBOOK", help="numbers (10) or names (10_crowdlayer_labelme)")
    made.add_argument("--scale", help="smoke (figures go to build/), quick (default) or paper")
    made.add_argument("--seeds", nargs="+", type=_natural, metavar="N", help="instead of each notebook's own")
    made.add_argument("--device", help="cpu (default), cuda, cuda:N, mps or auto")
    made.add_argument("--workers", type=_positive, metavar="N", help="processes at once (default: one per processor)")
    made.add_argument("--budget", type=seconds, metavar="TIME", help="90s, 9m or 1h: start no run that ends later")
    made.add_argument("--out", type=Path, metavar="DIR", help="put finished ledger rows there too, for --merge")
    made.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster for the runs: tcp://HOST:8786")
    made.add_argument("--shard", type=_shard, metavar="I/N", help="of the runs the I-th of N parts, for --runs-only")
    made.add_argument("--keep", action="store_true", help="compute only what is missing, not everything again")
    made.add_argument("--fresh", action="store_true", help="do not go on with an interrupted pass: begin again")
    made.add_argument(
        "-p", "--parameter", action="append", type=_assignment, metavar="NAME=VALUE", help="another notebook parameter"
    )
    return made


def _natural(text: str, least: int = 0) -> int:
    if not re.fullmatch(r"[0-9]+", text) or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, found {text!r}")
    return int(text)


def _positive(text: str) -> int:
    return _natural(text, least=1)


def seconds(text: str) -> float:
    """A flag's time, such as ``90s``, ``9m`` or ``1h``."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 9m or 1h, found {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected a part such as 1/4 or 4/4, found {text!r}")
    return int(match[1]), int(match[2])


def _assignment(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    if name in ("scale", "seeds", "device"):
        raise argparse.ArgumentTypeError(f"use --{name} for {name!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value  # a bare word is a string


def check(options: argparse.Namespace) -> None:
    """Raises UsageError where flags do not go together; names them."""
    given = [name for name in FLAGS_OF_A_PASS if getattr(options, name) not in (None, False)]
    unfit = {
        "--list": given if options.list else [],
        "--merge": [*given, *(["only"] if options.only else [])] if options.merge else [],
        # The committed notebooks show their defaults, so there is nothing to choose.
        "--in-place": [name for name in given if name != "workers"] if options.in_place else [],
        "--runs-only": [name for name in given if name in ("keep", "fresh", "parameter")] if options.runs_only else [],
        "--keep": ["fresh"] if options.keep and options.fresh else [],
    }
    for mode, names in unfit.items():
        if names:
            raise UsageError(f"{mode} does not go with {', '.join(f'--{name}' for name in names)}")
    if options.shard and not options.runs_only:
        raise UsageError("--shard goes with --runs-only: notebooks need all of their runs (--merge puts the parts together)")
    if options.seeds and len(set(options.seeds)) != len(options.seeds):
        raise UsageError(f"--seeds must differ from each other, found {options.seeds}")
