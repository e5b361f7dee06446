"""`napari-unet evaluate`: how well predicted labels agree with true ones."""

import json as json_module
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.io import Image
    from napari_unet.core.metrics import Scores

    Pairs = Iterator[tuple[NDArray[Any], NDArray[Any]]]


MANY_CLASSES = 20


def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Predicted labels: a file, a folder or a quoted glob.")],
    truth: Annotated[Path, typer.Argument(help="True labels: a file, a folder or a quoted glob.")],
    task: Annotated[
        Literal["classes", "objects"],
        typer.Option(help="Score every value as a class, or objects as one foreground."),
    ] = "classes",
    ignore: Annotated[int | None, typer.Option(help="True value that counts nowhere.")] = None,
    boundary: Annotated[int | None, typer.Option(help="Membrane value: adds V-Rand and VI.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score predicted labels: Dice, IoU and pixel accuracy, means over images and over planes of stacks."""
    from napari_unet.core.io import find_images, pair_files
    from napari_unet.core.metrics import score_planes

    if task == "objects" and boundary is not None:
        raise ValueError(f"--boundary {boundary} needs --task classes: objects have no boundary value.")
    pairs = pair_files(find_images(prediction), find_images(truth), words=("prediction", "truth"))
    planes = _planes(pairs)
    if task == "objects":
        scores = score_planes(_foreground(planes, ignore))
    else:
        scores = score_planes(planes, ignore=ignore, boundary=boundary)
        if len(scores.classes) > MANY_CLASSES:
            hint = "use --task objects if each value is one object"
            typer.echo(f"{len(scores.classes)} values are scored as classes: {hint}", err=True)
    if boundary is not None and boundary not in scores.classes:
        values = ", ".join(map(str, list(scores.classes)[:20]))
        raise ValueError(f"--boundary {boundary} is in neither prediction nor truth: name one of {values}.")
    if json:
        typer.echo(json_module.dumps(scores.to_json(membranes=boundary is not None)))
    else:
        _print_table(scores, membranes=boundary is not None)


def _planes(pairs: list[tuple[Path, Path]]) -> "Pairs":
    """Read plane after plane of every pair."""
    from napari_unet.core.io import open_labels

    for prediction, truth in pairs:
        predicted, true = open_labels(prediction), open_labels(truth)
        n_planes, height, width = _plane_shape(predicted)
        if _plane_shape(true) != (n_planes, height, width):
            raise ValueError(
                f"{prediction} is {predicted.axes} {predicted.data.shape} but {truth} is "
                f"{true.axes} {true.data.shape}: give as many planes of the same shape."
            )
        for index in range(n_planes):
            yield _plane(predicted, index), _plane(true, index)


def _plane_shape(labels: "Image") -> tuple[int, int, int]:
    """Planes of all time points, height, width; a file without metadata calls its time points Z."""
    *depth, height, width = labels.spatial_shape
    return labels.n_timepoints * prod(depth), height, width


def _plane(labels: "Image", index: int) -> "NDArray[Any]":
    from napari_unet.core.io import read_labels

    *depth, height, width = labels.spatial_shape
    t, z = divmod(index, prod(depth))
    region = (*[slice(z, z + 1)] * len(depth), slice(0, height), slice(0, width))
    return read_labels(labels, region, t=t).reshape(height, width)


def _foreground(planes: "Pairs", ignore: int | None) -> "Pairs":
    """Keep what counts of each plane and tell foreground from background only."""
    for predicted, true in planes:
        counted = slice(None) if ignore is None else true != ignore
        yield predicted[counted] != 0, true[counted] != 0


def _print_table(scores: "Scores", *, membranes: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("value", "Dice", "IoU")
    for value, score in scores.classes.items():
        table.add_row(str(value), f"{score.dice:.4f}", f"{score.iou:.4f}")
    table.add_section()
    table.add_row("mean", _shown(scores.mean_dice), _shown(scores.mean_iou))
    console = Console()
    console.print(table)
    console.print(f"pixel accuracy {_shown(scores.pixel_accuracy)}")
    if membranes:
        console.print(f"V-Rand {_shown(scores.v_rand)}, VI in bits {_shown(scores.vi)}")


def _shown(score: float | None) -> str:
    return "none" if score is None else f"{score:.4f}"
