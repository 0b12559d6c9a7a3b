"""Names to things: a catalogue of names, each with the module that registers it.

So a new data set, network or simulated crowd is a new file and a line of its room's catalogue.
"""

import difflib
import importlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def unknown(kind: str, name: object, known: list[str]) -> str:
    """The message for a name that nobody registered: what was found, what was expected, and the nearest guess."""
    near = difflib.get_close_matches(str(name), known, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{guess} Known: {', '.join(known) or 'none'}"


def options_of(make: Callable, first: int) -> dict[str, Any]:
    """The options of a function or class, with their defaults: its parameters from this place on."""
    parameters = list(inspect.signature(make).parameters.values())[first:]
    return {parameter.name: parameter.default for parameter in parameters}


def check_options(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises ValueError for an option that the owner ("method 'ccc'") does not have, with those that it has."""
    for option in given:
        if option not in known:
            raise ValueError(unknown(f"option of {owner}:", option, list(known)))


def choice(name: str, value: T, known: Iterable[T]) -> T:
    """An option's value. Raises ValueError where it is none of those that there are, with their list."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, found {value!r}")
    return value


def within(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raises ValueError where an option's value does not lie between ``low`` and ``high``, both included, or is not finite."""
    if not low <= value <= high or value == math.inf:
        expected = f"lie between {low} and {high}" if high < math.inf else f"be finite and at least {low}"
        raise ValueError(f"{name} must {expected}, found {value!r}")


class Registry(Generic[T]):
    """Entries by name. A module registers its entries when it is imported, and is imported when one of them is asked for.

    Args:
        kind: what an entry is, for messages ("data set").
        package: dotted name of the package that holds the modules.
        modules: the catalogue: the module of each name.
    """

    def __init__(self, kind: str, package: str, modules: Mapping[str, str]) -> None:
        self.kind, self.package, self.modules = kind, package, modules
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        """Raises ValueError when the name is taken, or not in the catalogue."""
        if name not in self.modules:
            raise ValueError(f"{self.kind} {name!r} has no line in the catalogue of {self.package}")
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry

    def names(self) -> list[str]:
        """In alphabetical order; imports nothing."""
        return sorted(self.modules)

    def get(self, name: str) -> T:
        """Raises ValueError for an unknown name, with the known ones, and for one that its module does not register."""
        if name not in self.modules:
            raise ValueError(unknown(self.kind, name, self.names()))
        if name not in self._entries:
            module = importlib.import_module(f"{self.package}.{self.modules[name]}")
            if name not in self._entries:
                raise ValueError(f"{module.__name__} registers no {self.kind} {name!r}, as the catalogue says it does")
        return self._entries[name]
