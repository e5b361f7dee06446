"""`napari-unet segment`: a model and images to segmented images."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_unet.cli.arguments import opening_options
from napari_unet.cli.inputs import Input, find_inputs, name_results
from napari_unet.cli.outputs import make_folder, refuse_outputs

if TYPE_CHECKING:
    from napari_unet.core.modelfile import Model

KindName = Literal["labels", "probabilities", "objects"]
ScoreTypeName = Literal["float32", "float16", "uint8"]
PrecisionName = Literal["auto", "fp32", "bf16"]
SuffixName = Literal[".tif", ".ome.tif", ".ome.zarr"]

IMAGE, RESULT, OBJECTS = "What is read", "What is written", "Objects"
COMPUTING = "How it is computed"


def segment(
    model: Annotated[Path, typer.Argument(help="A model file from `napari-unet train`.")],
    input: Annotated[
        str, typer.Argument(help="An image, file.h5:/dataset, a folder of images, or a quoted glob.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Output file (.tif, .ome.tif, .ome.zarr); for many images a folder.",
            rich_help_panel=RESULT,
        ),
    ] = None,
    into_image: Annotated[
        str | None,
        typer.Option(
            help="Instead: the name of labels inside the OME-Zarr image itself.", rich_help_panel=RESULT
        ),
    ] = None,
    suffix: Annotated[
        SuffixName | None,
        typer.Option(help="Format of many results; .tif, or with workers .ome.zarr.", rich_help_panel=RESULT),
    ] = None,
    kind: Annotated[
        KindName | None,
        typer.Option(
            help="What to write; by default what the model was trained for.", rich_help_panel=RESULT
        ),
    ] = None,
    score_type: Annotated[
        ScoreTypeName | None,
        typer.Option(help="Type of probabilities; by default float32.", rich_help_panel=RESULT),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with what was stopped; keep what is complete.", rich_help_panel=RESULT
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing outputs.", rich_help_panel=RESULT)
    ] = False,
    stack: Annotated[
        bool, typer.Option("--stack", help="Read a folder or glob as one stack.", rich_help_panel=IMAGE)
    ] = False,
    position: Annotated[
        str | None,
        typer.Option(
            help="One image of several in a file, by number or name; by default all.",
            rich_help_panel=IMAGE,
        ),
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help="Axes of the files, e.g. ZYX.", rich_help_panel=IMAGE)
    ] = None,
    spacing: Annotated[
        str,
        typer.Option(help="Voxel size of each spatial axis, e.g. 50,4,4.", rich_help_panel=IMAGE),
    ] = "",
    channels: Annotated[
        str,
        typer.Option(
            help="Channels in the model's order, by number or name, e.g. 2,DAPI.", rich_help_panel=IMAGE
        ),
    ] = "",
    match_spacing: Annotated[
        bool,
        typer.Option(
            "--match-spacing", help="Rescale to the model's voxel size, and back.", rich_help_panel=IMAGE
        ),
    ] = False,
    min_size: Annotated[
        int | None,
        typer.Option(
            help="Pixels of the smallest object; by default what was learnt.", rich_help_panel=OBJECTS
        ),
    ] = None,
    fill_holes: Annotated[
        bool | None,
        typer.Option(
            "--fill-holes/--no-fill-holes",
            help="Fill holes in objects; by default where the model is one of objects.",
            rich_help_panel=OBJECTS,
        ),
    ] = None,
    keep_border: Annotated[
        bool | None,
        typer.Option(
            "--keep-border/--drop-border",
            help="Keep objects that touch the border of the image; by default yes.",
            rich_help_panel=OBJECTS,
        ),
    ] = None,
    link: Annotated[
        bool,
        typer.Option(
            "--link",
            help="Of a 2D model: objects of neighbouring planes that overlap are one.",
            rich_help_panel=OBJECTS,
        ),
    ] = False,
    halo: Annotated[
        str, typer.Option(help="Context around a tile: auto, exact, or pixels.", rich_help_panel=COMPUTING)
    ] = "auto",
    tile: Annotated[
        int | None,
        typer.Option(help="Largest side of a tile; by default what fits.", rich_help_panel=COMPUTING),
    ] = None,
    precision: Annotated[
        PrecisionName,
        typer.Option(help="auto is bf16 where the hardware has it.", rich_help_panel=COMPUTING),
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=COMPUTING)] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes on this machine; on a GPU machine one a GPU.", rich_help_panel=COMPUTING
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Dask scheduler of a cluster, e.g. tcp://host:8786.", rich_help_panel=COMPUTING),
    ] = None,
) -> None:
    """Segment an image, a stack, or many of them.

    Ctrl-C keeps what is done: the same command with --resume goes on.
    """
    from napari_unet.cli.batch import run_batch
    from napari_unet.cli.running import INTERRUPTED, Job
    from napari_unet.core.devices import choose_device
    from napari_unet.core.layouts import SegmentConfig
    from napari_unet.core.modelfile import load_model

    several = workers is not None or scheduler is not None
    refuse_no_place(out, into_image, suffix, stack=stack)
    refuse_contradictions(
        {
            "--workers starts processes here and --scheduler uses others: choose one of them": (
                workers is not None and scheduler is not None
            ),
            "several workers share files with --match-spacing: leave out that, or --workers or --scheduler": (
                several and match_spacing
            ),
            f"several workers cannot write one {suffix}: choose --suffix .ome.zarr": (
                several and suffix in (".tif", ".ome.tif")
            ),
            "--into-image has a place for labels only: give --kind probabilities an --out": (
                into_image is not None and kind == "probabilities"
            ),
            f"--score-type is {score_type} but there are no scores: add --kind probabilities": (
                score_type is not None and kind != "probabilities"
            ),
        }
    )
    config = SegmentConfig(
        kind=kind,
        halo=int(halo) if halo.isdecimal() else halo,
        tile=tile,
        device=choose_device(device).type,
        precision=precision,
        match_spacing=match_spacing,
        score_type=score_type or "float32",
        min_size=min_size,
        fill_holes=fill_holes,
        keep_border=keep_border is not False,
        link=link,
    )
    opening = opening_options(axes, spacing, channels)
    inputs, many = find_inputs(input, stack=stack, position=position)
    if suffix is not None and not many:
        raise ValueError(f"--suffix is {suffix} but there is one image: --out says its format")
    if suffix is None and many:  # several processes can only write to a store together
        suffix = ".ome.zarr" if several else ".tif"
    if several and not many and out is not None and out.suffix.lower() != ".zarr":
        raise ValueError(f"several workers cannot write one {out}: choose an output that ends in .ome.zarr")
    outputs: Sequence[Path | None] = [None] * len(inputs)
    if out is not None:
        outputs = plan_outputs(inputs, out, suffix, may_exist=overwrite or resume)
    loaded = load_model(model)
    given = {
        "--min-size": min_size is not None,
        "--fill-holes" if fill_holes else "--no-fill-holes": fill_holes is not None,
        "--keep-border" if keep_border else "--drop-border": keep_border is not None,
        "--link": link,
    }
    refuse_without_objects(loaded, kind, [option for option, is_given in given.items() if is_given])
    try:
        with cluster(workers, scheduler) as client:
            job = Job(loaded, config, opening, into_image, overwrite, resume, client)
            if many:
                if out is not None:
                    make_folder(out)
                run_batch(job, inputs, outputs)
            else:
                request = job.request(inputs[0], outputs[0])
                if warning := job.warning(request):  # before the work, which may take long
                    typer.secho(warning, fg=typer.colors.YELLOW, err=True)
                typer.echo(f"{request.path}: {job.run(request)}")
    except KeyboardInterrupt:  # before the first image, or between two
        typer.secho("Stopped: the same command with --resume goes on", fg=typer.colors.RED, err=True)
        raise typer.Exit(INTERRUPTED) from None


def refuse_no_place(out: Path | None, into_image: str | None, suffix: str | None, *, stack: bool) -> None:
    """Refuse options that leave it open where the result goes, or say it twice."""
    if out is None and into_image is None:
        raise ValueError(
            "where does the result go? Give --out, or --into-image for labels in an OME-Zarr image"
        )
    if into_image is not None:
        given = {"--out": out is not None, "--suffix": suffix is not None, "--stack": stack}
        if options := [option for option, is_given in given.items() if is_given]:
            raise ValueError(f"--into-image writes into the image itself: leave out {' and '.join(options)}")


def refuse_contradictions(found: Mapping[str, bool]) -> None:
    """Refuse what excludes each other: the first sentence of those that hold."""
    for sentence, holds in found.items():
        if holds:
            raise ValueError(sentence)


def refuse_without_objects(model: "Model", kind: KindName | None, given: Sequence[str]) -> None:
    """Refuse options about objects where there are none, or none to link."""
    kind = kind or ("objects" if model.task == "objects" else "labels")
    if given and kind != "objects":
        raise ValueError(
            f"{' and '.join(given)}: that is about objects and {kind} are written; add --kind objects"
        )
    if "--link" in given and model.axes == "ZYX":
        raise ValueError("--link joins objects of planes and the model is 3D: its objects go through them")


def plan_outputs(inputs: Sequence[Input], out: Path, suffix: str | None, *, may_exist: bool) -> list[Path]:
    """Name the results, of many images with the suffix; refuse names that would cost an image or a result."""
    outputs = [out] if suffix is None else name_results(inputs, out, suffix)
    refuse_outputs([path for each in inputs for path in each.paths], outputs, may_exist=may_exist)
    return outputs


@contextmanager
def cluster(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    """Start processes here, or join those of a cluster; None where neither is asked for."""
    if workers is not None:
        from napari_unet.core.cluster import local_client

        with local_client(workers) as client:
            yield client
    elif scheduler is not None:
        from napari_unet.core.cluster import connect, trust_warning

        if warning := trust_warning(scheduler):
            typer.secho(warning, fg=typer.colors.YELLOW, err=True)
        with connect(scheduler) as client:
            if not client.nthreads():
                typer.secho(f"{scheduler} has no workers yet: waiting for them", err=True)
            yield client
    else:
        yield None
