"""Segment one image: from opening it to what there is to say about it in the end."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import typer

from napari_unet.cli.inputs import Input

if TYPE_CHECKING:
    from napari_unet.core.layouts import SegmentConfig
    from napari_unet.core.modelfile import Model
    from napari_unet.core.request import Request
    from napari_unet.core.running import StackResult, StackUpdate

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""


@dataclass(frozen=True)
class Outcome:
    """What became of an image: pixels and time of this run, how it computed, and what is worth a note."""

    n_voxels: int = 0
    seconds: float = 0.0
    how: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rate = self.n_voxels / self.seconds if self.seconds else 0
        did = f"{self.n_voxels:,} voxels in {self.seconds:.1f} s ({rate:,.0f} voxels/s), {self.how}"
        return "; ".join([did] * bool(self.how) + list(self.notes))


@dataclass(frozen=True, eq=False)
class Job:
    """What is the same for all images; `labels` is a name for labels inside OME-Zarr images."""

    model: "Model"
    config: "SegmentConfig"
    opening: dict[str, Any]
    labels: str | None = None
    overwrite: bool = False
    resume: bool = False
    client: Any = None  # of Dask, where there is a cluster

    def request(self, source: Input, output: Path | None) -> "Request":
        """Open an image, and say where its result goes."""
        from napari_unet.core.io.labels import labels_path
        from napari_unet.core.request import Request

        image = source.open(self.opening)
        if output is not None:
            return Request(self.model, image, output, self.config)
        store = source.store()
        return Request(self.model, image, labels_path(store, self.labels or ""), self.config, store)

    def warning(self, request: "Request") -> str:
        """Say where the model is not at home, "" where it is."""
        from napari_unet.core.layouts import spacing_warning

        return "" if self.config.match_spacing else spacing_warning(self.model, request.image)

    def run(self, request: "Request") -> Outcome:
        """Segment an image; Ctrl-C ends the command, and what is done is kept."""
        from napari_unet.core.unfinished import is_complete

        n_before = count_done(request) if self.resume else 0
        is_kept = self.resume and not self.overwrite  # with both, who knows which run has made it?
        if is_kept and is_complete(request):
            refuse_otherwise_made(request)
            return Outcome(notes=("was complete already",))
        start = perf_counter()
        try:
            result = self._segment(request)
        except KeyboardInterrupt:
            typer.secho(stopped(request), fg=typer.colors.RED, err=True)
            raise typer.Exit(INTERRUPTED) from None
        return summary(request, result, n_before, perf_counter() - start)

    def _segment(self, request: "Request") -> "StackResult":
        from napari_unet.cli.progress import segmenting_shown
        from napari_unet.core.draining import drain

        with closing(self._work(request)) as work, segmenting_shown(request.image.name) as show:
            return drain(work, show)

    def _work(self, request: "Request") -> "Generator[StackUpdate, None, StackResult]":
        what = (self.model, request.image, request.path, self.config)
        if self.client is None:
            from napari_unet.core.stacks import segment_stack

            return segment_stack(
                *what, image_store=request.image_store, overwrite=self.overwrite, resume=self.resume
            )
        from napari_unet.core.cluster import segment_on_cluster

        return segment_on_cluster(
            *what,
            client=self.client,
            image_store=request.image_store,
            overwrite=self.overwrite,
            resume=self.resume,
        )


def refuse_otherwise_made(request: "Request") -> None:
    """Refuse to take a complete result for that of this command where another model or option made it."""
    from napari_unet.core.io.provenance import read_provenance
    from napari_unet.core.request import changes

    wanted = {name: request.provenance[name] for name in ("model", "options")}
    made = read_provenance(request.path)
    if made and (changed := changes(made, wanted)):
        raise ValueError(
            f"{request.path} is complete, but these have changed since: {', '.join(changed)}; "
            "choose another name, or make it anew with --overwrite"
        )


def count_done(request: "Request") -> int:
    """Count the tiles that an earlier run has done."""
    from napari_unet.core.journal import Journal, is_begun
    from napari_unet.core.unfinished import JOURNAL

    path = request.folder / JOURNAL
    return Journal(path).n_done("tiles") if is_begun(path) else 0


def stopped(request: "Request") -> str:
    """Say what Ctrl-C has left."""
    from napari_unet.core.journal import Journal
    from napari_unet.core.plan import StackPlan
    from napari_unet.core.unfinished import JOURNAL

    if not (n_done := count_done(request)):
        return f"Stopped before the first tile of {request.path} was done: nothing is kept"
    n_tiles = len(StackPlan.from_json(Journal(request.folder / JOURNAL).header["plan"]))
    return (
        f"Stopped with {n_done:,} of {n_tiles:,} tiles of {request.path} done: "
        "the same command with --resume goes on"
    )


def summary(request: "Request", result: "StackResult", n_before: int, seconds: float) -> Outcome:
    """Say what was done in this run, and how."""
    from napari_unet.core.devices import describe_device
    from napari_unet.core.running import result_notes

    plan = result.plan
    how = (
        f"tile {_times(plan.grid.tile_shape)}, halo {_times(plan.grid.halo)}, {plan.precision}, "
        f"{describe_device(result.device)}"
    )
    notes = result_notes(request.image, request.layout.image, result.n_nonfinite)
    if n_before:
        notes = (f"went on after {n_before:,} of {len(plan):,} tiles", *notes)
    n_voxels = result.n_voxels * (len(plan) - n_before) // len(plan)
    return Outcome(n_voxels, seconds, how, notes)


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
