"""`napari-unet evaluate`: how well predicted labels agree with true ones."""

import json as json_module
from collections.abc import Iterator
from itertools import islice
from math import prod
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.io import Image
    from napari_unet.core.matching import ObjectScores, Overlaps
    from napari_unet.core.metrics import Scores

    Pairs = Iterator[tuple[NDArray[Any], NDArray[Any]]]
    Files = list[tuple[Path, Path]]


MANY_CLASSES = 20


def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Predicted labels: a file, a folder or a quoted glob.")],
    truth: Annotated[Path, typer.Argument(help="True labels: a file, a folder or a quoted glob.")],
    task: Annotated[
        Literal["classes", "objects"],
        typer.Option(
            help="Score every value as a class, or as an object, and all objects as one foreground."
        ),
    ] = "classes",
    ignore: Annotated[int | None, typer.Option(help="True value that counts nowhere.")] = None,
    boundary: Annotated[int | None, typer.Option(help="Membrane value: adds V-Rand and VI.")] = None,
    planes: Annotated[
        bool, typer.Option("--planes", help="Match objects in every plane of a volume, not through planes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score predicted labels: Dice, IoU and pixel accuracy; AP, F1 and SEG of objects.

    Pixels are scored plane by plane, objects in volumes, time points apart; scores are the means.
    """
    from napari_unet.core.io import find_images, pair_files
    from napari_unet.core.metrics import score_planes

    if task == "objects" and boundary is not None:
        raise ValueError(f"--boundary {boundary} needs --task classes: objects have no boundary value")
    if task == "classes" and planes:
        raise ValueError("--planes needs --task objects: classes are always scored plane by plane")
    pairs = pair_files(find_images(prediction), find_images(truth), words=("prediction", "truth"))
    if task == "objects":
        _print_objects(pairs, ignore, planes=planes, json=json)
        return
    scores = score_planes(_planes(pairs), ignore=ignore, boundary=boundary)
    if len(scores.classes) > MANY_CLASSES:
        hint = "use --task objects if each value is one object"
        typer.echo(f"{len(scores.classes)} values are scored as classes: {hint}", err=True)
    if boundary is not None and boundary not in scores.classes:
        values = ", ".join(map(str, list(scores.classes)[:20]))
        raise ValueError(f"--boundary {boundary} is in neither prediction nor truth: name one of {values}")
    if json:
        typer.echo(json_module.dumps(scores.to_json(membranes=boundary is not None)))
    else:
        _print_table(scores, membranes=boundary is not None)


def _print_objects(pairs: "Files", ignore: int | None, *, planes: bool, json: bool) -> None:
    from napari_unet.core.matching import score_overlaps
    from napari_unet.core.metrics import score_planes

    foreground = score_planes(_foreground(_planes(pairs), ignore))
    objects = score_overlaps(_overlaps(pairs, ignore, planes=planes))
    if json:
        typer.echo(json_module.dumps(foreground.to_json(membranes=False) | objects.to_json()))
    else:
        _print_table(foreground, membranes=False)
        _print_object_table(objects)


def _overlaps(pairs: "Files", ignore: int | None, *, planes: bool) -> "Iterator[Overlaps]":
    """Compare volume after volume, of which one plane at a time is in memory."""
    from napari_unet.core.matching import sum_overlaps

    for prediction, truth in pairs:
        predicted, true = _open(prediction, truth)
        n_planes, *_ = _plane_shape(predicted)
        depth = 1 if planes else _common_depth(predicted, true)
        compared = _pair_planes(predicted, true)
        for _ in range(n_planes // depth):
            yield sum_overlaps(islice(compared, depth), ignore=ignore)


def _planes(pairs: "Files") -> "Pairs":
    """Read plane after plane of every pair."""
    for prediction, truth in pairs:
        yield from _pair_planes(*_open(prediction, truth))


def _open(prediction: Path, truth: Path) -> "tuple[Image, Image]":
    from napari_unet.core.io import open_labels

    predicted, true = open_labels(prediction), open_labels(truth)
    if _plane_shape(true) != _plane_shape(predicted):
        raise ValueError(
            f"{prediction} is {predicted.axes} {predicted.data.shape} but {truth} is "
            f"{true.axes} {true.data.shape}: give as many planes of the same shape"
        )
    return predicted, true


def _pair_planes(predicted: "Image", true: "Image") -> "Pairs":
    n_planes, *_ = _plane_shape(predicted)
    for index in range(n_planes):
        yield _plane(predicted, index), _plane(true, index)


def _common_depth(predicted: "Image", true: "Image") -> int:
    """Planes of a volume. Where only one of two files tells time points from planes, it decides."""
    depths = _depth(predicted), _depth(true)
    if depths[0] != depths[1] and min(*depths, predicted.n_timepoints, true.n_timepoints) > 1:
        (n_predicted, n_true) = (f"{i.n_timepoints} time points of {_depth(i)}" for i in (predicted, true))
        raise ValueError(
            f"{predicted.name} has {n_predicted} planes but {true.name} has {n_true}: "
            "correct the axes of one, or compare plane by plane with --planes"
        )
    return min(depths)


def _depth(labels: "Image") -> int:
    """Planes of a time point."""
    return prod(labels.spatial_shape[:-2])


def _plane_shape(labels: "Image") -> tuple[int, int, int]:
    """Planes of all time points, height, width; a file without metadata calls its time points Z."""
    *_, height, width = labels.spatial_shape
    return labels.n_timepoints * _depth(labels), height, width


def _plane(labels: "Image", index: int) -> "NDArray[Any]":
    from napari_unet.core.io import read_labels

    *depth, height, width = labels.spatial_shape
    t, z = divmod(index, _depth(labels))
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


def _print_object_table(scores: "ObjectScores") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("objects with IoU from", "AP", "F1")
    for iou, ap in scores.ap.items():
        table.add_row(f"{iou:.2f}", f"{ap:.4f}", f"{scores.f1[iou]:.4f}")
    table.add_section()
    table.add_row("mean", f"{fmean(scores.ap.values()):.4f}", f"{fmean(scores.f1.values()):.4f}")
    console = Console()
    console.print(table)
    console.print(f"{scores.n_true} true objects, {scores.n_predicted} predicted")
    console.print(f"mean IoU of the matched {_shown(scores.mean_matched_iou)}, SEG {_shown(scores.seg)}")
    console.print(f"count error {_shown(scores.count_error)} of the true count")


def _shown(score: float | None) -> str:
    return "none" if score is None else f"{score:.4f}"
