"""Values of metadata that anybody may have written: what is unusable is left out, and noted."""

import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

_SHOWN = 40


class Values:
    """Look up optional values of JSON, of any type; remember what could not be used.

    Parameters
    ----------
    name : str
        Of the file, for the notes.

    Examples
    --------
    >>> values = Values("cells")
    >>> values.mapping({"omero": None}, "omero"), values.text({"label": 3}, "label"), values.notes
    ({}, '', ['cells: omero is null and is ignored', 'cells: label is 3 and is ignored'])
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.notes: list[str] = []

    def mapping(self, holder: Any, key: str) -> Mapping[str, Any]:
        """Return an object, {} where there is none."""
        found = self._get(holder, key)
        return found if isinstance(found, Mapping) else self.ignore(key, found, {})

    def sequence(self, holder: Any, key: str) -> Sequence[Any]:
        """Return a list, () where there is none."""
        found = self._get(holder, key)
        return found if isinstance(found, list | tuple) else self.ignore(key, found, ())

    def text(self, holder: Any, key: str) -> str:
        """Return text, "" where there is none."""
        found = self._get(holder, key)
        return found if isinstance(found, str) else self.ignore(key, found, "")

    def plain(self, holder: Any, key: str) -> str | Sequence[Any]:
        """Return text or a list, of an array of numpy's too; "" where there is neither."""
        found = self._get(holder, key)
        found = found.tolist() if isinstance(found, np.ndarray | np.generic) else found
        found = [found] if isinstance(found, int | float) else found
        return found if isinstance(found, str | list | tuple) else self.ignore(key, found, "")

    def sizes(self, holder: Any, key: str, n: int) -> Sequence[float]:
        """Return as many positive numbers, () where there are none."""
        return self._numbers(holder, key, n, is_size)

    def numbers(self, holder: Any, key: str, n: int) -> Sequence[float]:
        """Return as many finite numbers, () where there are none."""
        return self._numbers(holder, key, n, is_number)

    def _numbers(self, holder: Any, key: str, n: int, fits: Callable[[Any], bool]) -> Sequence[float]:
        found = self._get(holder, key)
        if isinstance(found, list | tuple) and len(found) == n and all(map(fits, found)):
            return [float(each) for each in found]
        self.ignore(key, found)
        return ()

    def _get(self, holder: Any, key: str) -> Any:
        return holder.get(key, _ABSENT) if isinstance(holder, Mapping) else _ABSENT

    def ignore(self, key: str, found: Any, instead: Any = None) -> Any:
        """Note that a value cannot be used, unless there is none; return what is used instead."""
        if found is not _ABSENT:
            note = f"{self._name}: {key} is {shown_value(found)} and is ignored"
            self.notes += [note] * (note not in self.notes)
        return instead


_ABSENT = object()


def parse_json(text: str | bytes, what: str) -> Any:
    """Return what a JSON document holds.

    Raises
    ------
    ValueError
        Where it is none, or is nested too deeply.

    Examples
    --------
    >>> parse_json("[" * 100_000, "axistags")
    Traceback (most recent call last):
    ValueError: axistags is no JSON
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} is no JSON") from error


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def is_size(value: Any) -> bool:
    """Whether a value is a positive, finite number."""
    return is_number(value) and value > 0


def shown_value(value: Any) -> str:
    """Spell a value in a few characters.

    >>> shown_value(None), shown_value("a" * 50)
    ('null', "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…")
    """
    text = "null" if value is None else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
