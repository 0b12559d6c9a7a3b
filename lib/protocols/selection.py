"""Choosing settings on validation data, one way for every paper: a score for each value, averaged over seeds; the best value,
the smallest of equals. Test scores play no part. What was chosen stands in the protocols, and tests hold the two together."""

from collections.abc import Iterable, Mapping
from typing import Any


def scores(trials: Iterable[tuple[Any, Any, float]]) -> dict[Any, dict[Any, float]]:
    """The mean score, to six digits, of each value that was tried, in order, at each place where one is to be chosen; of each
    trial place, value and score, of which more is better."""
    found: dict[Any, dict[Any, list[float]]] = {}
    for place, value, score in trials:
        found.setdefault(place, {}).setdefault(value, []).append(score)
    return {
        place: {value: round(sum(each) / len(each), 6) for value, each in sorted(tried.items())}
        for place, tried in found.items()
    }


def best(by_value: Mapping[Any, float]) -> Any:
    """The value with the highest score; the smallest of equals."""
    return max(sorted(by_value), key=by_value.get)


def late(row: dict, name: str, epochs: int = 1) -> float:
    """The mean of a measure over a row's last epochs, so that no epoch is chosen along with the setting."""
    values = row["history"][name][-epochs:]
    return sum(values) / len(values)
