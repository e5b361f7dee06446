"""What a segmentation does in the background: into a layer, or into a file and the layer with it."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from napari_unet import __version__
from napari_unet.core.io import Image
from napari_unet.core.io.layout import Sink
from napari_unet.core.io.names import real_path
from napari_unet.core.io.ngff import PROVENANCE
from napari_unet.core.io.result import check_output
from napari_unet.core.results import ResultLayout
from napari_unet.core.tiling import Region
from napari_unet.session.images import ImageChoice
from napari_unet.session.results import Begun, Order, Result, amount
from napari_unet.session.sinks import Numbers
from napari_unet.session.threads import leave_a_core

if TYPE_CHECKING:
    from napari_unet.core.layouts import SegmentConfig
    from napari_unet.core.modelfile import Model
    from napari_unet.core.plan import StackPlan
    from napari_unet.core.request import Request
    from napari_unet.core.running import StackResult, StackUpdate

CPU_TILE = 512
"""Largest side of a tile of a plane where the processor computes: after one of about a second it can end."""


@dataclass(eq=False)
class Job:
    """A segmentation that goes on; `region` tells where in its layer, if any, a region of the result lies.

    `begun` is what it goes on with, `fresh` the array that its layer takes, with numbers, once something is
    done; `plan`, `n_done` and `sample` are what a segmentation into a layer can be gone on with, and `folder`
    is where a file is in the making; `notes` are what the result does not show of the image.
    """

    order: Order
    whole: Image
    part: Image
    sink: Sink | None
    result: Result | None = None
    region: Callable[[Region], Region] = tuple
    path: Path | None = None
    begun: Begun | None = None
    fresh: tuple[Any, Numbers] | None = None
    folder: Path | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    plan: "StackPlan | None" = None
    n_done: int = 0
    sample: str = ""
    notes: tuple[str, ...] = ()
    cancelled: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        if self.begun is not None:
            self.plan, self.n_done, self.sample = self.begun.plan, self.begun.n_done, self.begun.sample

    @property
    def is_whole(self) -> bool:
        """Whether all of the image is segmented."""
        return self.part is self.whole

    @property
    def is_done(self) -> bool:
        """Whether all of a layer is there, also where it was cancelled at the last tile."""
        return self.path is None and self.plan is not None and self.n_done == len(self.plan)

    @property
    def is_left(self) -> bool:
        """Whether a layer holds a part of the whole that can be gone on with; links would break."""
        return self.is_whole and self.n_done > 0 and not self.order.objects.link


def work(job: Job, threads: int | None) -> Generator["StackUpdate | str", None, bool]:
    """Segment a block at a time, and say what is worth saying; tell whether it got to the end."""
    from napari_unet.core.running import result_notes  # torch

    leave_a_core(threads)
    job.provenance = _provenance(job.order)
    with closing(_into_layer(job) if job.path is None else _into_file(job, job.path)) as updates:
        while not job.cancelled.is_set():
            try:
                update = next(updates)
            except StopIteration as end:
                job.notes = result_notes(job.whole, job.whole, end.value.n_nonfinite)
                return True
            yield update
    return job.is_done


def _into_layer(job: Job) -> Generator["StackUpdate | str", None, "StackResult"]:
    from napari_unet.core.arrays import segment_into  # torch

    order, config = job.order, config_of(job.order)
    assert job.sink is not None
    if job.is_whole and _is_edited(job):
        yield f"{job.whole.name} is begun anew: the image changed since it was cancelled"
    if job.plan is None:
        job.plan = _plan(job, config)
        yield ""  # where it can be cancelled
    elif job.is_whole:
        yield f"goes on with {job.whole.name}: {amount(job.plan, job.n_done)} are there"
    updates = segment_into(
        order.model, job.part, job.sink, config, order.intensity, plan=job.plan, first=job.n_done
    )
    while True:
        try:
            update = next(updates)
        except StopIteration as end:
            result: StackResult = end.value
            return result
        if update.region is not None:  # of objects a plane or a volume has to be whole
            job.n_done = update.task + 1
        yield update


def _into_file(job: Job, path: Path) -> Generator["StackUpdate | str", None, "StackResult"]:
    from napari_unet.core.request import Request
    from napari_unet.core.stacks import segment_stack  # torch

    order, config = job.order, config_of(job.order)
    request = Request(order.model, job.whole, path, config)
    job.folder, why_not = request.folder, cannot_go_on(request)
    if why_not:
        raise FileExistsError(
            f"{request.folder.name} holds unfinished work and {why_not}: "
            "choose another name, or delete that folder"
        )
    if why_not is not None:
        yield f"goes on with {path.name}: what was done before is kept"
    return (
        yield from segment_stack(
            order.model,
            job.whole,
            path,
            config,
            overwrite=True,  # whoever chose the name has agreed
            resume=True,
            intensity=order.intensity,
            also=job.sink,
        )
    )


def cannot_go_on(request: "Request") -> str | None:
    """Say why an unfinished file cannot be gone on with, "" where it can; None where there is none."""
    from napari_unet.core.journal import Journal, is_begun
    from napari_unet.core.request import changes
    from napari_unet.core.unfinished import FORMAT, JOURNAL

    path = request.folder / JOURNAL
    if not is_begun(path):
        return None
    try:
        begun = Journal(path).header
    except ValueError:
        return "is damaged"
    changed = changes(begun, request.identity)
    if not changed and begun.get("format") == FORMAT:
        return ""
    return f"{' and '.join(changed or ['the format'])} changed since"


def _is_edited(job: Job) -> bool:
    """Look whether pixels were edited in place since it was left; if so forget what was done."""
    from napari_unet.core.request import pixel_sample  # torch

    before, job.sample = job.sample, pixel_sample(job.whole)
    if job.begun is None or before == job.sample:
        return False
    job.begun.data[...] = 0
    job.plan, job.n_done = None, 0
    return True


def config_of(order: Order) -> "SegmentConfig":
    """Return how to segment; tiles are small only where they take long."""
    from napari_unet.core.devices import choose_device
    from napari_unet.core.layouts import SegmentConfig  # torch

    is_slow = choose_device(order.device).type == "cpu" and order.model.axes == "YX"
    tile = CPU_TILE if is_slow else None
    return SegmentConfig(kind=order.kind, device=order.device, tile=tile, **asdict(order.objects))


def layout_of(order: Order, image: Image) -> ResultLayout:
    """Return what the result will be; ValueError where it cannot be."""
    from napari_unet.core.layouts import result_layout  # torch

    return result_layout(order.model, image, config_of(order))


def check_fit(model: "Model", image: Image) -> None:
    """Raise a ValueError, with what the user can do, where a model is not for images like this one."""
    n_channels = model.network.config.in_channels
    if image.n_channels != n_channels:
        raise ValueError(
            f"{image.name} has {image.n_channels} channels and the model was trained with {n_channels}: "
            "choose as many of them"
        )
    if model.axes == "ZYX" and "Z" not in image.axes:
        raise ValueError(f"{image.name} has no Z axis and the model is 3D: choose a volume, or train in 2D")


def check_file(path: Path, choice: ImageChoice) -> None:
    """Refuse early what cannot be written; the image itself is never replaced, and nothing is put into it."""
    sources = [real_path(layer.source.path) for layer in choice.layers if layer.source.path]
    place = real_path(path)
    for source in sources:
        if place in (source, *source.parents):
            what = "the image itself" if place == source else "a folder that holds the image"
            raise FileExistsError(f"{path.name} is {what}: choose another name")
        if source in place.parents:
            raise FileExistsError(
                f"{path.name} lies inside the image {source.name}: choose a place beside it"
            )
    check_output(path, overwrite=True)


def _plan(job: Job, config: "SegmentConfig") -> "StackPlan":
    """Decide for all of it; a layer has no files that would be too many, so a block is one tile."""
    from napari_unet.core.devices import choose_device
    from napari_unet.core.inference import Predictor
    from napari_unet.core.plan import plan_stack  # torch

    order = job.order
    predictor = Predictor(order.model.network, choose_device(config.device), config.precision)
    plan = plan_stack(predictor, order.model, job.part, config, order.intensity)
    return replace(plan, depth=1)


def _provenance(order: Order) -> dict[str, Any]:
    """Return what files of ours say as well."""
    from napari_unet.core.modelfile import model_hash  # torch

    options = {"kind": order.kind, "device": order.device, **asdict(order.objects)}
    return {PROVENANCE: __version__, "model": model_hash(order.model), "options": options}
