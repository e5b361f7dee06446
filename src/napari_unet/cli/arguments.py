"""Values written as text on the command line."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", int, float)


def integers(option: str, text: str) -> tuple[int, ...] | None:
    """Read "0,3,7"; nothing gives None."""
    return _numbers(option, text, int)


def floats(option: str, text: str) -> tuple[float, ...] | None:
    """Read "50,4,4"; nothing gives None."""
    return _numbers(option, text, float)


def numbers_or_names(text: str) -> tuple[int | str, ...] | None:
    """Read "0,2" or "DAPI,actin"; nothing gives None."""
    parts = [part.strip() for part in text.split(",")] if text else []
    return tuple(int(part) if part.removeprefix("-").isdecimal() else part for part in parts) or None


def opening_options(axes: str | None, spacing: str, channels: str) -> dict[str, Any]:
    """Read --axes, --spacing and --channels: how files are to be opened."""
    return {
        "axes": axes,
        "spacing": floats("--spacing", spacing),
        "channels": numbers_or_names(channels),
    }


def _numbers(option: str, text: str, kind: Callable[[str], T]) -> tuple[T, ...] | None:
    try:
        return tuple(kind(part) for part in text.split(",")) if text else None
    except ValueError:
        raise ValueError(f"{option} is {text!r}: write numbers with commas, such as 0,3,7") from None
