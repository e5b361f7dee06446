"""`napari-unet evaluate`: how well predicted labels agree with true ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_unet.cli.scores import print_json, print_object_table, print_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.io import Image
    from napari_unet.core.matching import Overlaps
    from napari_unet.core.metrics import Scores

    Pairs = Iterator[tuple[NDArray[Any], NDArray[Any]]]
    Files = Sequence[tuple[Path, Path]]


MANY_CLASSES = 20


@dataclass(frozen=True)
class Options:
    """What is scored: values as classes, or as objects, in each plane or through them."""

    task: Literal["classes", "objects"]
    ignore: int | None = None
    boundary: int | None = None
    planes: bool = False


@dataclass(frozen=True)
class PairScores:
    """What is measured of a prediction: scores of each plane, and the overlaps of objects if they count."""

    planes: "Sequence[Scores]"
    overlaps: "Sequence[Overlaps]"


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

    Pixels are scored plane by plane, objects in volumes, time points apart; scores are the means. Of many
    files those that cannot be scored are reported and left out, and the exit code is 1.
    """
    from napari_unet.core.io import find_images, pair_files
    from napari_unet.core.io.files import listed

    if task == "objects" and boundary is not None:
        raise ValueError(f"--boundary {boundary} needs --task classes: objects have no boundary value")
    if task == "classes" and planes:
        raise ValueError("--planes needs --task objects: classes are always scored plane by plane")
    pairs = pair_files(find_images(prediction), find_images(truth), words=("prediction", "truth"))
    options = Options(task, ignore, boundary, planes)
    scores, left_out = score_files(pairs, options)
    if scores:
        print_scores(scores, options, left_out, json=json)
    if left_out:
        n_scored = f"{len(scores)} of {len(pairs)} predictions scored"
        typer.echo(f"{n_scored}; left out: {listed(left_out)}", err=json)
        raise typer.Exit(1)


def score_files(pairs: "Files", options: Options) -> tuple[list[PairScores], list[str]]:
    """Score pairs of files; return the scores, and the names of predictions that cannot be scored.

    A single pair is no batch: what is wrong with it is raised.
    """
    if len(pairs) == 1:
        return [score_pair(*pairs[0], options)], []
    scores: list[PairScores] = []
    left_out: list[str] = []
    for prediction, truth in pairs:
        try:
            scores.append(score_pair(prediction, truth, options))
        except (OSError, ValueError, MemoryError) as error:
            typer.secho(f"Error: {prediction} and {truth}: {error}", fg=typer.colors.RED, err=True)
            left_out.append(prediction.name)
    return scores, left_out


def score_pair(prediction: Path, truth: Path, options: Options) -> PairScores:
    """Score a prediction, of which one plane at a time is in memory."""
    from napari_unet.core.metrics import score_plane

    predicted, true = _open(prediction, truth)
    if options.task == "classes":
        compared, ignore = _pair_planes(predicted, true), options.ignore
    else:
        compared, ignore = _foreground(_pair_planes(predicted, true), options.ignore), None
    scores = [score_plane(*plane, ignore=ignore, boundary=options.boundary) for plane in compared]
    return PairScores(scores, [] if options.task == "classes" else list(_overlaps(predicted, true, options)))


def print_scores(
    found: Sequence[PairScores], options: Options, left_out: Sequence[str], *, json: bool
) -> None:
    """Print the means over all planes and volumes; JSON names what is left out."""
    from napari_unet.core.matching import score_overlaps
    from napari_unet.core.metrics import mean_scores

    scores = mean_scores([each for pair in found for each in pair.planes])
    membranes = options.boundary is not None
    if options.task == "classes":
        _doubt(scores, options.boundary)
    objects = [each for pair in found for each in pair.overlaps]
    of_objects = score_overlaps(objects) if options.task == "objects" else None
    if json:
        print_json(scores, of_objects, left_out, membranes=membranes)
        return
    print_table(scores, membranes=membranes)
    if of_objects is not None:
        print_object_table(of_objects)


def _doubt(scores: "Scores", boundary: int | None) -> None:
    """Say where values look like objects; refuse a boundary value that does not occur."""
    if len(scores.classes) > MANY_CLASSES:
        hint = "use --task objects if each value is one object"
        typer.echo(f"{len(scores.classes)} values are scored as classes: {hint}", err=True)
    if boundary is not None and boundary not in scores.classes:
        values = ", ".join(map(str, list(scores.classes)[:20]))
        raise ValueError(f"--boundary {boundary} is in neither prediction nor truth: name one of {values}")


def _overlaps(predicted: "Image", true: "Image", options: Options) -> "Iterator[Overlaps]":
    """Compare volume after volume."""
    from napari_unet.core.matching import sum_overlaps

    n_planes, *_ = _plane_shape(predicted)
    depth = 1 if options.planes else _common_depth(predicted, true)
    compared = _pair_planes(predicted, true)
    for _ in range(n_planes // depth):
        yield sum_overlaps(islice(compared, depth), ignore=options.ignore)


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
