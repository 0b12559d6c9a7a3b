"""Choosing settings on validation data, one way for every paper: a score for each value, averaged over seeds; the best value,
the smallest of equals. Test scores play no part. What was chosen stands in the protocols, and tests hold the two together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def scores(
    rows: Iterable[dict],
    value: Callable[[dict], Any],
    score: Callable[[dict], float],
    place: Callable[[dict], Any] = lambda config: None,
    digits: int = 6,
) -> dict[Any, dict[Any, float]]:
    """The mean score of each value that was tried, at each place where one is to be chosen.

    Args:
        rows: ledger rows of the trials.
        value, place: of a row's config.
        score: of a row; more is better.
        digits: to which means are equal.
    """
    by_place: dict[Any, dict[Any, list[float]]] = {}
    for row in rows:
        by_place.setdefault(place(row["config"]), {}).setdefault(value(row["config"]), []).append(score(row))
    return {
        where: {tried: round(sum(each) / len(each), digits) for tried, each in by_value.items()}
        for where, by_value in by_place.items()
    }


def best(by_value: Mapping[Any, float]) -> Any:
    """The value with the highest score; the smallest of equals."""
    return max(sorted(by_value), key=by_value.get)


def late(name: str, epochs: int = 1) -> Callable[[dict], float]:
    """A row's score: the mean of a measure over its last epochs, so that no epoch is chosen along with the setting."""

    def score(row: dict) -> float:
        values = row["history"][name][-epochs:]
        return sum(values) / len(values)

    return score
