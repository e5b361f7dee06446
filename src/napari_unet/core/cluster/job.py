"""What workers are told, and what they do: each opens model, image and result itself; nothing is pickled."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any

import torch

from napari_unet import __version__
from napari_unet.core.io import Image
from napari_unet.core.io.disk import disk_errors, remove
from napari_unet.core.io.source import Source
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.modelfile import load_model, save_model
from napari_unet.core.plan import StackPlan
from napari_unet.core.request import Request
from napari_unet.core.running import computing
from napari_unet.core.stack_work import StackWork
from napari_unet.core.work import Note

Task = tuple[int, Any]
"""Its number, and its argument."""

N_THREADS = torch.get_num_threads()  # as this process was started
_room = BoundedSemaphore(2)  # one computes, the other reads or writes
_opening, _computing = Lock(), Lock()


@dataclass(frozen=True, eq=False)
class Job:
    """What this process has opened to work on.

    Parameters
    ----------
    path : Path
        What `handed_over` has yielded.
    request : Request
        What is wanted.
    work : StackWork
        Its tasks.
    """

    path: Path
    request: Request
    work: StackWork

    def do(self, phase: str, tasks: Sequence[Task]) -> list[Note]:
        """Do tasks of a phase, and return what the journal is to note of each."""
        if phase == "tiles":
            size = self.work.blocks.n_at_once
            batches = (tasks[start : start + size] for start in range(0, len(tasks), size))
            return [note for batch in batches for note in self._predict(batch)]
        do = next(each.do for each in self.work.phases() if each.name == phase)
        notes = []
        for task, argument in tasks:
            with self._writing():
                notes.append(do(task, argument))
        return notes

    def _predict(self, tasks: Sequence[Task]) -> list[Note]:
        blocks = self.work.blocks
        ready = [blocks.read(task) for task, _ in tasks]
        with _computing:
            if blocks.plan.precision != "fp32":  # which has that of the plan
                torch.set_num_threads(_n_threads())  # of this thread, so it is said each time
            with computing(blocks.plan, blocks.predictor):
                results = blocks.predict(ready)
        with self._writing():
            return [self.work.write(*each) for each in zip(ready, results, strict=True)]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if not self.path.exists():
            raise OSError(f"nobody waits for {self.path.parent} any more: go on with it with --resume")
        with disk_errors(self.request.path, self.request.file_layout(self.work.blocks.plan)):
            yield


def source_of(image: Image) -> Source:
    """Return where workers find an image.

    Raises
    ------
    ValueError
        If it is only in memory.
    """
    if image.source is None:
        raise ValueError(f"workers cannot open {image.name}, which is no file: open it with open_image")
    return image.source


@contextmanager
def handed_over(request: Request, header: Mapping[str, Any]) -> Iterator[str]:
    """Write down in the folder what workers need, and yield where; they stop when it is gone.

    The name moves with model, image and options: a worker that comes late never writes into another result.
    """
    text = _description(request, header)
    path = request.folder / _job_name(text)
    with disk_errors(request.path, request.file_layout(StackPlan.from_json(header["plan"]))):
        save_model(request.model, _model_path(path), overwrite=True)
        path.write_bytes(text)
    try:
        yield str(path)
    finally:
        remove(path)


def run_tasks(path: str, phase: str, n_objects: int, tasks: Sequence[Task]) -> list[Note]:
    """Do tasks of a phase in this process.

    Parameters
    ----------
    path : str
        What `handed_over` has yielded.
    phase : str
        Name of the phase.
    n_objects : int
        In the whole stack, once that is known.
    tasks : sequence of (int, argument)
        Some of the phase.

    Returns
    -------
    list of dict
        What the journal is to note of each.

    Raises
    ------
    ValueError
        If a piece of the image cannot be decoded, or the package has another version here.
    OSError
        If a file cannot be read or written, or the run has ended.
    """
    with _room:
        with _opening:
            job = _open(path, n_objects)
        return job.do(phase, tasks)


@lru_cache(maxsize=1)
def _open(path: str, n_objects: int) -> Job:
    request, plan = _read(path)
    return Job(Path(path), request, request.work(plan, lambda: n_objects))


@lru_cache(maxsize=1)
def _read(path: str) -> tuple[Request, StackPlan]:
    """Open what is written down; the model stays in memory from one phase to the next."""
    if not Path(path).exists():
        raise OSError(
            f"a worker does not find {path}: it needs the same disks under the same names, "
            "unless the run has ended meanwhile"
        )
    text = Path(path).read_bytes()
    if Path(path).name != _job_name(text):
        raise ValueError(f"{path} is damaged: end the run, and resume it with --resume")
    told = json.loads(text)
    if told["napari-unet"] != __version__:
        raise ValueError(
            f"a worker has napari-unet {__version__} and this run {told['napari-unet']}: install the same"
        )
    model = load_model(_model_path(Path(path)))
    store = told["image_store"]
    request = Request(
        model,
        _source(told["source"]).open(),
        Path(told["path"]),
        SegmentConfig(**told["config"]),
        None if store is None else Path(store),
    )
    return request, StackPlan.from_json(told["plan"])


def _source(told: dict[str, Any]) -> Source:
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
    }
    return Source(**given)


def _description(request: Request, header: Mapping[str, Any]) -> bytes:
    """Return what workers need: device and precision are decided already."""
    options = header["options"]
    decided = {name: options[name] for name in ("kind", "device", "precision")}
    store = request.image_store
    told = dict(header) | {
        "config": asdict(request.config) | decided,
        "source": asdict(source_of(request.image)),
        "path": str(request.path),
        "image_store": None if store is None else str(store),
    }
    return json.dumps(told, ensure_ascii=False, allow_nan=False).encode()


def _job_name(text: bytes) -> str:
    """Return the name of a job, which is that of its content."""
    return f"job-{sha256(text).hexdigest()[:16]}.json"


def _model_path(job: Path) -> Path:
    return job.with_name("model.safetensors")


def _n_threads() -> int:
    """Return the number of cores that this worker was given: Dask starts torch with one."""
    from distributed import get_worker

    return max(N_THREADS, int(get_worker().state.nthreads))
