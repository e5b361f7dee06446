"""Outputs that are refused before the work starts."""

from collections.abc import Sequence
from pathlib import Path


def refuse_outputs(inputs: Sequence[Path], outputs: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse to replace an input, or a folder that holds one, and a result unless told so."""
    from napari_unet.core.io.names import is_zarr

    kept = {folder for path in inputs for folder in (path.resolve(), *path.resolve().parents)}
    for output in outputs:
        if output.resolve() in kept:
            raise ValueError(f"{output} is an input or holds one: choose another name for the output")
        if output.is_dir() and not is_zarr(output):
            raise IsADirectoryError(
                f"{output} is a folder: one image needs the name of a file for its result"
            )
    existing = [output for output in outputs if output.exists()]
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise FileExistsError(f"{existing[0]}{more}: choose another name or replace with --overwrite")
