"""Outputs that are refused before the work starts."""

import os
from collections.abc import Sequence
from pathlib import Path


def refuse_outputs(inputs: Sequence[Path], outputs: Sequence[Path], *, may_exist: bool) -> None:
    """Refuse to replace an input, or a folder that holds one, to write into one, and what exists already."""
    from napari_unet.core.io.names import is_zarr, real_path, split_member

    files = [real_path(split_member(path)[0]) for path in inputs]
    kept = {folder for file in files for folder in (file, *file.parents)}
    for output in outputs:
        if real_path(output) in kept:
            raise ValueError(f"{output} is an input or holds one: choose another name for the output")
        if not set(files).isdisjoint(real_path(output).parents):
            raise ValueError(f"{output} lies inside an input: choose a place beside it for the output")
        if output.is_dir() and not is_zarr(output):
            raise IsADirectoryError(
                f"{output} is a folder: one image needs the name of a file for its result"
            )
    existing = [output for output in outputs if output.exists()]
    if existing and not may_exist:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        keep = ", keep them with --resume," if len(outputs) > 1 else ""
        raise FileExistsError(f"{existing[0]}{more}: choose another name{keep} or replace with --overwrite")


def make_folder(folder: Path) -> None:
    """Make the folder of many results, if it is not there; refuse one that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder} ({error.strerror}): choose another one") from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the folder {folder} cannot be written: choose another one")
