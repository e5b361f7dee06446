"""One sentence for a file whose bytes are not what its header promises."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# what tifffile, zarr and the decoders of imagecodecs and numcodecs raise on damaged bytes
_DAMAGE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
)


@contextmanager
def readable(path: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn whatever a decoder says about damaged bytes into a ValueError that names file and remedy."""
    try:
        yield
    except _DAMAGE + also as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(
            f"{path.name} cannot be read ({reason}); copy the file again or save it anew"
        ) from error
