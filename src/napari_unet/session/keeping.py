"""Nothing painted or learnt is lost: it is kept while it changes, and offered when its image is back."""

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, get_args

import numpy as np

from napari_unet.core.targets import Task
from napari_unet.session.annotated import Annotated, image_key
from napari_unet.session.autosave import Autosave
from napari_unet.session.correcting import take_over
from napari_unet.session.desk import Desk
from napari_unet.session.images import ImageChoice
from napari_unet.session.jobs import Failure, Start
from napari_unet.session.kept import Kept, discard
from napari_unet.session.teaching import Teaching

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.core.modelfile import Model

MODEL_SECONDS = 10.0
"""How often the model that is being trained is copied to be kept."""


class Keeping:
    """Autosave for a session, and the offer to restore."""

    def __init__(self, start: Start, failed: "Callable[[Failure], object]") -> None:
        self._autosave = Autosave(start, failed)
        self._choice: ImageChoice | None = None
        self._answered: set[str] = set()
        self.offer: Kept | None = None
        self._copied: tuple[object, int] = (None, 0)
        self._copied_at = 0.0
        self.note, self.seal, self.flush = self._autosave.note, self._autosave.seal, self._autosave.flush

    def look_for(self, choice: ImageChoice | None) -> None:
        """Find what was kept of an image, once for each choice."""
        if choice is not self._choice:
            self._choice = choice
            key = None if choice is None else image_key(choice)
            self.offer = None if key is None or key in self._answered else self._autosave.find(key)

    def look_again(self) -> None:
        """Offer at once what an annotation held that has just gone."""
        self.flush()
        self._choice = None
        self._answered.clear()

    def tick(self, teaching: Teaching) -> None:
        """Keep what is due."""
        now = monotonic()
        if now - self._copied_at >= MODEL_SECONDS:
            self._copied_at = now
            self._copy_model(teaching, self._keep_model)
        self._autosave.tick(now)

    def close(self, teaching: Teaching) -> None:
        """Keep everything now, and what a training has learnt as soon as it has ended."""

        def keep(model: "Model") -> None:
            self._keep_model(model)
            self.flush()

        self.flush()
        self._copy_model(teaching, keep)

    def _copy_model(self, teaching: Teaching, keep: "Callable[[Model], object]") -> None:
        """Have the model copied, if it has learnt something since the last time."""
        trainer = teaching.trainer
        if trainer is None or trainer.model is None or not trainer.can_predict:
            return
        now = trainer.model.network, trainer.steps
        if now != self._copied:
            self._copied = now
            trainer.ask(keep)

    def _keep_model(self, model: "Model") -> None:
        from napari_unet.core.modelfile import save_model  # torch is there, for there is a model

        self._autosave.note_model(model.task, partial(save_model, model, overwrite=True))

    def accept(self) -> tuple[Kept, ...]:
        """Return what was offered, after what was painted for another task; it stays on the disk."""
        offer = self._answer()
        if offer is None:
            return ()
        found = [self._autosave.find(offer.key, task) for task in get_args(Task) if task != offer.task]
        others = [each for each in found if each is not None and each.path.parent == offer.path.parent]
        return (*others, offer)

    def _answer(self) -> Kept | None:
        """Offer it no more."""
        offer, self.offer = self.offer, None
        if offer is not None:
            self._answered.add(offer.key)
        return offer

    def discard(self) -> None:
        """Remove what was offered."""
        offer = self._answer()
        if offer is not None:
            discard(offer)


def put_back(kept: Kept, desk: Desk) -> Annotated:
    """Paint what was kept wherever nothing has been painted since, on the chosen image."""
    desk.set_task(kept.task)
    if kept.task == "classes":
        desk.restore_classes(kept.classes)
    annotated = desk.at_hand()
    for index, plane in kept.planes.items():
        take_over(annotated, index, np.asarray(plane), None)
    for index in kept.complete:
        annotated.mark_complete(index, True)
    return annotated
