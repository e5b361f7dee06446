"""`napari-unet train`: images and labels to a model file."""

import os
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_unet.cli.arguments import integers, opening_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from napari_unet.core.annotations import SavedAnnotation
    from napari_unet.core.examples import Dataset
    from napari_unet.core.io import Image
    from napari_unet.core.label_values import LabelOptions
    from napari_unet.core.modelfile import Model

    Pairs = Sequence[tuple[Image, Image | SavedAnnotation]]

TaskName = Literal["classes", "objects"]
UnlabelledName = Literal["background", "ignore"]

ArchitectureName = Literal["unet", "paper", "fcn32s", "fcn16s", "fcn8s", "deconvnet"]
LossName = Literal["ce", "weighted-ce", "dice", "ce+dice", "focal"]


def train(
    images: Annotated[str, typer.Argument(help="An image, a folder of images, or a quoted glob.")],
    labels: Annotated[str, typer.Argument(help="Their labels, paired by name.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")],
    task: Annotated[
        TaskName | None, typer.Option(help="A value is one class (default), or one object.")
    ] = None,
    unlabelled: Annotated[
        UnlabelledName | None,
        typer.Option(help="What 0 means: background (default), or not annotated."),
    ] = None,
    complete: Annotated[str, typer.Option(help="With ignore: planes where 0 is background, e.g. 3,7.")] = "",
    slices: Annotated[str, typer.Option(help="Planes to train on, e.g. 0,3,7; all by default.")] = "",
    ndim: Annotated[Literal[2, 3], typer.Option(help="2: planes; 3: volumes.")] = 2,
    architecture: Annotated[ArchitectureName | None, typer.Option(help="The network; default unet.")] = None,
    width: Annotated[int | None, typer.Option(help="Channels of its first level.")] = None,
    depth: Annotated[int | None, typer.Option(help="Number of its poolings.")] = None,
    loss: Annotated[LossName, typer.Option(help="What training makes small.")] = "ce+dice",
    minutes: Annotated[float | None, typer.Option(help="How long to train.")] = None,
    steps: Annotated[int | None, typer.Option(help="How many steps to train, instead of --minutes.")] = None,
    validation: Annotated[float, typer.Option(help="Share of the labels held out to score on.")] = 0.2,
    start: Annotated[Path | None, typer.Option(help="A model to start from.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    log: Annotated[Path | None, typer.Option(help="Write the learning curve as CSV.")] = None,
    axes: Annotated[str | None, typer.Option(help="Axes of the files, e.g. ZYX.")] = None,
    spacing: Annotated[str, typer.Option(help="Voxel size of each spatial axis, e.g. 50,4,4.")] = "",
    channels: Annotated[str, typer.Option(help="Channels to use, e.g. 0,2.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Train a network on annotated images; without --minutes or --steps, until the score settles.

    An annotation that was saved in napari says itself what --task, --unlabelled and --complete say.
    """
    begun = perf_counter()
    check_outputs(out, log, overwrite)
    from napari_unet.cli.training import run_training
    from napari_unet.core.devices import choose_device, describe_device
    from napari_unet.core.label_values import LabelOptions
    from napari_unet.core.modelfile import save_model
    from napari_unet.core.starting import Architecture, new_model
    from napari_unet.core.supply import TrainConfig

    config = TrainConfig(loss=loss, minutes=minutes, steps=steps, validation=validation, seed=seed)
    planes = integers("--slices", slices)
    chosen_device = choose_device(device)
    opening = opening_options(axes, spacing, channels)
    first = None if start is None else load_start(start, chosen_device, architecture, width, depth)
    pairs = find_pairs(images, labels, opening)
    refuse_contradictions([annotation for _, annotation in pairs], task, unlabelled, complete)
    complete_planes = integers("--complete", complete) or ()
    options = LabelOptions(task or "classes", unlabelled or "background", complete_planes, planes, ndim)
    dataset = read_dataset(pairs, options, first)
    if first is None:
        wanted = Architecture(architecture or "unet", width, depth)
        model = new_model(dataset, wanted, seed=seed, device=chosen_device)
    else:
        model = continue_model(dataset, first, start, seed)
    typer.echo(f"{describe_device(chosen_device)}; {describe_model(model)}")
    result, interrupted = run_training(model, dataset, config, log, begun=begun)
    save_model(result.model, out, overwrite)
    typer.echo(f"saved {out} after {result.steps} steps in {result.seconds:.1f} s")
    if interrupted:
        raise typer.Exit(130)


def check_outputs(out: Path, log: Path | None, overwrite: bool) -> None:
    """Refuse a model file or a curve that could not be written."""
    if out.suffix != ".safetensors":
        raise ValueError(f"--out is {out}: give the model file a name that ends in .safetensors")
    check_output(out, overwrite)
    check_output(log, overwrite)


def check_output(path: Path | None, overwrite: bool) -> None:
    """Refuse an output that could not be written, before the work rather than after it."""
    if path is None:
        return
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: choose another name or replace it with --overwrite")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it first")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"the folder {path.parent} cannot be written: choose another one")


def find_pairs(images: str, labels: str, opening: dict[str, Any]) -> "Pairs":
    """Pair the files and open them; annotations that say what their values mean do so."""
    from napari_unet.core.annotations import find_annotation
    from napari_unet.core.io import find_images, open_image, open_labels, pair_files

    label_axes = (opening["axes"] or "").replace("C", "") or None
    return [
        (open_image(image, **opening), find_annotation(mask) or open_labels(mask, axes=label_axes))
        for image, mask in pair_files(find_images(images), find_images(labels))
    ]


def refuse_contradictions(
    labels: "Sequence[Image | SavedAnnotation]", task: str | None, unlabelled: str | None, complete: str
) -> None:
    """Refuse options that say something else than a saved annotation does."""
    from napari_unet.core.annotations import SavedAnnotation

    for each in labels:
        if not isinstance(each, SavedAnnotation):
            continue
        name, meant = each.labels.name, each.meaning.task
        if task not in (None, meant):
            raise ValueError(f"--task is {task} but {name} is annotated for {meant}: leave it out")
        if unlabelled == "background":
            raise ValueError(f"--unlabelled is background but {name} is an annotation: leave it out")
        if complete:
            raise ValueError(f"--complete is {complete} but {name} says it itself: leave it out")


def read_dataset(pairs: "Pairs", options: "LabelOptions", first: "Model | None" = None) -> "Dataset":
    """Read what is annotated as the model to start from does, and say what was handled."""
    from napari_unet.core.examples import read_examples

    method = None if first is None else first.normalisation
    dataset = read_examples(pairs, options, normalisation=method)
    for note in dataset.notes:
        typer.echo(note)
    typer.echo(f"{count_examples(dataset)} of {len(pairs)} images; {count_annotated(dataset)}")
    return dataset


def count_examples(dataset: "Dataset") -> str:
    """Say how many planes or volumes are annotated, or regions where these are not read whole."""
    whole = "planes" if len(dataset.axes) == 2 else "volumes"
    is_whole = not any(example.place for example in dataset.examples)
    return f"{len(dataset.examples)} annotated {whole if is_whole else 'regions'}"


def count_annotated(dataset: "Dataset") -> str:
    """Say which classes, or how many objects, are annotated."""
    import numpy as np

    if dataset.task == "classes":
        return f"classes {', '.join(str(label.output_value) for label in dataset.classes)}"
    n_objects = sum(int((np.unique(each.annotation) > 1).sum()) for each in dataset.examples)
    return f"{n_objects:,} objects"


def load_start(
    path: Path, device: "torch.device", architecture: str | None, width: int | None, depth: int | None
) -> "Model":
    """Load the model to start from; refuse an architecture, width or depth that it does not have."""
    from napari_unet.core.modelfile import load_model

    first = load_model(path, device)
    config = first.network.config
    for option, wanted, present in (
        ("--architecture", architecture, first.architecture),
        ("--width", width, config.width),
        ("--depth", depth, config.depth),
    ):
        if wanted not in (None, present):
            raise ValueError(f"{option} is {wanted} but the model to start from has {present}: leave it out")
    return first


def continue_model(dataset: "Dataset", first: "Model", path: Path | None, seed: int) -> "Model":
    """Build a model that keeps what fits of another, and say what does not."""
    from napari_unet.core.starting import fine_tune

    model, anew = fine_tune(dataset, first, seed=seed)
    typer.echo(f"starting from {path}" + (f"; these layers start anew: {', '.join(anew)}" if anew else ""))
    return model


def describe_model(model: "Model") -> str:
    """One line: architecture, width, depth, weights."""
    config = model.network.config
    n_weights = sum(weight.numel() for weight in model.network.parameters())
    return f"{model.architecture}, width {config.width}, depth {config.depth}, {n_weights:,} weights"
