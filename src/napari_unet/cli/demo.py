"""`napari-unet demo`: the main job on shipped images, with a picture and figures."""

from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.io import Image
    from napari_unet.samples import Sample


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the model, the results and the picture.")] = Path(
        "demo-output"
    ),
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 1.0,
) -> None:
    """Train on five shipped nuclei images, segment four of other fields, and draw what came out."""
    begun = perf_counter()
    if out.is_file():
        raise FileExistsError(f"{out} is a file: name a folder with --out")
    from napari_unet.cli.picture import draw_demo
    from napari_unet.cli.training import run_training
    from napari_unet.core import LabelOptions, TrainConfig, new_model, read_examples, save_model, segment
    from napari_unet.samples import nuclei

    config = TrainConfig(minutes=minutes)
    out.mkdir(parents=True, exist_ok=True)
    train_samples, test_samples = nuclei()
    pairs = [(as_image(sample), as_image(sample, objects=True)) for sample in train_samples]
    dataset = read_examples(pairs, LabelOptions("objects"))
    typer.echo(f"training on {len(train_samples)} nuclei images for {minutes:g} min; Ctrl-C ends it early")
    result, interrupted = run_training(new_model(dataset), dataset, config, begun=begun)
    predictions = [segment(result.model, as_image(sample)) for sample in test_samples]
    save_model(result.model, out / "demo.safetensors", overwrite=True)
    draw_demo(out / "demo.png", dataset, train_samples, test_samples, predictions)
    typer.echo(score_table(test_samples, predictions))
    typer.echo(f"look at {out / 'demo.png'}; the model is {out / 'demo.safetensors'}")
    if interrupted:
        raise typer.Exit(130)


def as_image(sample: "Sample", *, objects: bool = False) -> "Image":
    """Wrap a sample's pixels, or its objects, as the readers would."""
    from napari_unet.core.io import Image

    pixels = sample.objects if objects else sample.image
    return Image(pixels, "ZYX"[-pixels.ndim :], sample.spacing, "pixel", ("",), sample.name)


def score_table(samples: "list[Sample]", predictions: "list[NDArray[Any]]") -> str:
    """Dice and IoU of all nuclei of each image, AP of single ones, and how many were found."""
    from napari_unet.core.matching import score_objects
    from napari_unet.core.metrics import score_plane, score_planes

    planes = [
        (prediction > 0, sample.objects > 0) for sample, prediction in zip(samples, predictions, strict=True)
    ]
    precisions = []
    lines = ["never seen     Dice    IoU   AP at IoU 0.5   nuclei found / true"]
    for sample, prediction, plane in zip(samples, predictions, planes, strict=True):
        found, objects = score_plane(*plane).classes[1], score_objects(prediction, sample.objects)
        precisions.append(objects.ap[0.5])
        lines.append(
            f"{sample.name:12} {found.dice:6.3f} {found.iou:6.3f} {objects.ap[0.5]:15.3f}"
            f"   {objects.n_predicted:4} / {objects.n_true}"
        )
    mean = score_planes(planes).classes[1]
    return "\n".join([*lines, f"{'mean':12} {mean.dice:6.3f} {mean.iou:6.3f} {fmean(precisions):15.3f}"])
