"""Names to things: a registry that finds its entries by importing every module of a package.

So a new data set, backbone or method is a new file and nothing else.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


def unknown(kind: str, name: object, known: list[str]) -> str:
    """The message for a name that nobody registered: what was found, what was expected, and the nearest guess."""
    near = difflib.get_close_matches(str(name), known, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{guess} Known: {', '.join(known)}"


def choice(name: str, value: T, known: Iterable[T]) -> T:
    """An option's value, which must be one of those that there are.

    Raises:
        ValueError: it is none of them; the message lists them.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, found {value!r}")
    return value


class Registry(Generic[T]):
    """Entries by name, in the order of their names.

    Args:
        kind: what an entry is, for messages ("method").
        package: dotted name of the package whose modules register entries when they are imported.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, T] = {}
        self._imported = False

    def add(self, name: str, entry: T) -> None:
        """Raises ValueError when the name is taken."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry

    def names(self) -> list[str]:
        self._import_all()
        return sorted(self._entries)

    def get(self, name: str) -> T:
        """Raises ValueError for an unknown name; the message lists the known ones."""
        self._import_all()
        if name not in self._entries:
            raise ValueError(unknown(self.kind, name, self.names()))
        return self._entries[name]

    def _import_all(self) -> None:
        if not self._imported:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._imported = True
