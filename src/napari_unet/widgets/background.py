"""Jobs in napari's worker threads; what they report arrives in the GUI thread."""

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from napari.qt.threading import GeneratorWorker
from qtpy.QtCore import QObject, QThreadPool, Slot

from napari_unet.session.jobs import Failure, caught

_running: set["_Job"] = set()


def start_in_thread(
    work: Generator[Any, None, Any],
    shown: Callable[[Any], object],
    done: Callable[[Any], object],
    failed: Callable[[Failure], object],
) -> None:
    """Run a job in a thread of its own; it ends by itself, so what it returns always arrives."""
    job = _Job(_Worker(caught, work), shown, done, failed)
    _running.add(job)
    # the pool has a thread for each core: without one more, a long training would make others wait
    QThreadPool.globalInstance().releaseThread()
    job.worker.start()


class _Worker(GeneratorWorker):  # type: ignore[misc]
    """napari's worker without its change of the warnings filters.

    The filters belong to the whole process: two jobs that end in another order than they began would leave
    those of the first behind for good. Errors need no care here, as `caught` returns them.
    """

    def run(self) -> None:
        """Work to the end and say so; Qt calls this in the thread."""
        with suppress(RuntimeError):  # Qt has gone before the job ended: nobody is left to be told
            self.started.emit()
            self._running = True
            result = self.work()
            self._gen.close()  # where napari ends the job: its `finally` runs here and not in the GUI thread
            if not self.abort_requested:
                self.returned.emit(result)
            self._running = False
            self.finished.emit()
            self._finished.emit(self)


class _Job(QObject):
    """Stands in the GUI thread, so that Qt queues there what the worker emits."""

    def __init__(
        self,
        worker: _Worker,
        shown: Callable[[Any], object],
        done: Callable[[Any], object],
        failed: Callable[[Failure], object],
    ) -> None:
        super().__init__()
        self.worker = worker
        self._shown, self._done, self._failed = shown, done, failed
        worker.yielded.connect(self._on_yielded)
        worker.returned.connect(self._on_returned)
        worker.finished.connect(self._on_finished)

    @Slot(object)
    def _on_yielded(self, update: object) -> None:
        self._shown(update)

    @Slot(object)
    def _on_returned(self, result: object) -> None:
        if isinstance(result, Failure):
            self._failed(result)
        else:
            self._done(result)

    @Slot()
    def _on_finished(self) -> None:
        QThreadPool.globalInstance().reserveThread()
        _running.discard(self)
