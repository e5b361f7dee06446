"""`napari-unet evaluate`: how well predicted labels agree with true ones."""

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.metrics import Scores

    Pairs = Iterator[tuple[NDArray[Any], NDArray[Any]]]


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
    planes = _planes(pair_files(find_images(prediction), find_images(truth)))
    if task == "objects":
        scores = score_planes(_foreground(planes, ignore))
    else:
        scores = score_planes(planes, ignore=ignore, boundary=boundary)
    if boundary is not None and boundary not in scores.classes:
        values = ", ".join(map(str, list(scores.classes)[:20]))
        raise ValueError(f"--boundary {boundary} is in neither prediction nor truth: name one of {values}.")
    if json:
        typer.echo(json_module.dumps(scores.to_json()))
    else:
        _print_table(scores)


def _planes(pairs: list[tuple[Path, Path]]) -> "Pairs":
    """Read plane after plane of every pair and every time point."""
    from napari_unet.core.io import open_labels, read_labels

    for prediction, truth in pairs:
        predicted, true = open_labels(prediction), open_labels(truth)
        shapes = [(image.n_timepoints, *image.spatial_shape) for image in (predicted, true)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{prediction} is {predicted.spatial_axes} {predicted.spatial_shape} but {truth} is "
                f"{true.spatial_axes} {true.spatial_shape}: give labels of one shape."
            )
        n_timepoints, *depth, height, width = shapes[0]
        for t in range(n_timepoints):
            for z in range(depth[0] if depth else 1):
                region = (*[slice(z, z + 1)] * len(depth), slice(0, height), slice(0, width))
                planes = [
                    read_labels(image, region, t=t).reshape(height, width) for image in (predicted, true)
                ]
                yield planes[0], planes[1]


def _foreground(planes: "Pairs", ignore: int | None) -> "Pairs":
    """Keep what counts of each plane and tell foreground from background only."""
    for predicted, true in planes:
        counted = slice(None) if ignore is None else true != ignore
        yield predicted[counted] != 0, true[counted] != 0


def _print_table(scores: "Scores") -> None:
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
    if scores.v_rand is not None:
        console.print(f"V-Rand {_shown(scores.v_rand)}, VI {_shown(scores.vi)} bits")


def _shown(score: float | None) -> str:
    return "none" if score is None else f"{score:.4f}"
