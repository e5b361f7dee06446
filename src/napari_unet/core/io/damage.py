"""One sentence for a file whose bytes are not what its header promises."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# what tifffile, zarr, h5py and the decoders of imagecodecs and numcodecs raise on damaged bytes
_DAMAGE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    SyntaxError,  # malformed XML is one
    EOFError,
    struct.error,
    zlib.error,
)


class Unreadable(ValueError):
    """An error that already says in one sentence which file it is and what to do."""


@contextmanager
def readable(path: Path, *also: type[Exception], place: str = "") -> Iterator[None]:
    """Turn whatever a decoder says about damaged bytes into a ValueError that names file and remedy.

    What is `Unreadable` says so already. `place` says where in the file it happened: a page, a region.
    """
    try:
        yield
    except Unreadable:
        raise
    except _DAMAGE + also as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
        where = f"{place}: " if place else ""
        raise Unreadable(
            f"{path.name} cannot be read ({where}{reason}); copy the file again or save it anew"
        ) from error


def shown(region: tuple[slice, ...]) -> str:
    """Spell a region as an index.

    >>> shown((slice(0, 2), slice(16, 32)))
    'region [0:2, 16:32]'
    """
    return f"region [{', '.join(f'{part.start}:{part.stop}' for part in region)}]"
