"""`napari-unet info`: what an image or a model file says about itself."""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_unet.cli.finding import describe_rules


def info(
    file: Annotated[Path, typer.Argument(help="An image (of HDF5 also file.h5:/dataset) or a model file.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what an image says about itself, how many of its chunks are missing, or the header of a model."""
    facts = _model_facts(file) if file.suffix.lower() == ".safetensors" else _image_facts(file)
    if json:
        typer.echo(json_module.dumps(facts, ensure_ascii=False))
        return
    if facts.get("objects"):
        facts["objects"] = describe_rules(facts["objects"])
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = value if isinstance(value, str) else json_module.dumps(value, ensure_ascii=False)
        typer.echo(f"{name:<{width}}  {shown}")


def _model_facts(path: Path) -> dict[str, Any]:
    from napari_unet.core.modelfile import read_header

    return dict(read_header(path))


def _image_facts(path: Path) -> dict[str, Any]:
    from napari_unet.core.io import count_missing_chunks, describe_format, list_positions, open_image

    image = open_image(path)
    return {
        "format": describe_format(path),
        "axes": image.axes,
        "shape": list(image.data.shape),
        "dtype": image.dtype.name,
        "spacing": list(image.spacing),
        "units": image.unit,
        "channels": list(image.channels),
        "positions": list(list_positions(path)),
        "missing_chunks": count_missing_chunks(image),
    }
