"""The tasks that a stack consists of, in phases: whoever runs them decides where and in which order."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

from numpy.typing import NDArray

from napari_unet.core.io.layout import ResultSink
from napari_unet.core.object_work import ObjectStore, ObjectWork
from napari_unet.core.work import BlockWork, Note, Phase, Ready, write_region


class StackWork:
    """All tasks of a stack whose result lies in a file, and what they need.

    Parameters
    ----------
    blocks : BlockWork
        What a block consists of.
    open_result : callable
        Opens the result for writing; objects have theirs only when their number is known.
    store : ObjectStore
        Where what becomes objects lies meanwhile.
    """

    def __init__(self, blocks: BlockWork, open_result: Callable[[], ResultSink], store: ObjectStore) -> None:
        self.blocks, self._open_result = blocks, open_result
        self._objects = ObjectWork(blocks, store) if blocks.layout.kind == "objects" else None

    @cached_property
    def result(self) -> ResultSink:
        """Where the result goes."""
        return self._open_result()

    def phases(self) -> Iterator[Phase]:
        """Yield the phases; the result has to be there when those of its levels begin."""
        n_blocks = len(self.blocks.plan)
        yield Phase("tiles", n_blocks, self._predict, self._objects is None)
        if self._objects is not None:
            yield from self._objects.phases()
            yield Phase("numbers", n_blocks, self._number, True)
        for level, n_tasks in enumerate(self.result.levels, start=1):
            yield Phase(f"level {level}", n_tasks, partial(self._reduce, level))

    def write(self, ready: Ready, result: NDArray[Any]) -> Note:
        """Write a predicted block, and return what the journal notes."""
        note = {"n_nonfinite": ready.n_nonfinite}
        if self._objects is not None:
            return note | self._objects.write(ready.block, result)
        write_region(self.result, self.blocks.place(ready.block), result)
        return note

    def _predict(self, task: int, _: object) -> Note:
        ready = self.blocks.read(task)
        return self.write(ready, self.blocks.predict([ready])[0])

    def _number(self, task: int, _: object) -> Note:
        assert self._objects is not None
        region, objects = self._objects.numbered(task)
        self.result.write(region, objects.astype(self.blocks.layout.dtype))
        return {}

    def _reduce(self, level: int, task: int, _: object) -> Note:
        self.result.reduce(level, task)
        return {}
