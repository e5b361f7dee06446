"""Nothing painted or learnt is lost: it is kept while it changes, and offered when its image is back."""

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.session.annotated import Annotated, image_key
from napari_unet.session.autosave import Autosave
from napari_unet.session.correcting import take_over
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
        self.offer: Kept | None = None
        self._steps = 0
        self._copied_at = 0.0
        self.note, self.seal, self.flush = self._autosave.note, self._autosave.seal, self._autosave.flush

    def look_for(self, choice: ImageChoice | None) -> None:
        """Find what was kept of an image, once for each choice."""
        if choice is not self._choice:
            self._choice = choice
            self.offer = None if choice is None else self._autosave.find(image_key(choice))

    def look_again(self) -> None:
        """Offer at once what an annotation held that has just gone."""
        self.flush()
        self._choice = None

    def tick(self, teaching: Teaching) -> None:
        """Keep what is due."""
        now = monotonic()
        trainer = teaching.trainer
        if trainer and trainer.steps != self._steps and now - self._copied_at >= MODEL_SECONDS:
            self._steps, self._copied_at = trainer.steps, now
            trainer.ask(self._keep_model)
        self._autosave.tick(now)

    def _keep_model(self, model: "Model") -> None:
        from napari_unet.core.modelfile import save_model  # torch is there, for there is a model

        self._autosave.note_model(partial(save_model, model, overwrite=True))

    def accept(self) -> Kept | None:
        """Return what was offered, and offer it no more; it stays on the disk."""
        offer, self.offer = self.offer, None
        return offer

    def discard(self) -> None:
        """Remove what was offered."""
        if self.offer is not None:
            discard(self.offer)
            self.offer = None


def put_back(kept: Kept, annotated: Annotated) -> None:
    """Paint what was kept wherever nothing has been painted since."""
    for index, plane in kept.planes.items():
        take_over(annotated, index, np.asarray(plane), None)
    for index in kept.complete:
        annotated.mark_complete(index, True)
