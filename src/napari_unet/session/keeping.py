"""Nothing painted or learnt is lost: it is kept while it changes, and offered when its image is back."""

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, get_args

from napari_unet.core.targets import Task
from napari_unet.session.annotated import Annotated, image_key
from napari_unet.session.autosave import Autosave
from napari_unet.session.desk import Desk
from napari_unet.session.images import ImageChoice
from napari_unet.session.jobs import Jobs
from napari_unet.session.kept import Kept, discard
from napari_unet.session.teaching import Teaching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.core.modelfile import Model
    from napari_unet.session.classes import Classes

MODEL_SECONDS = 10.0
"""How often the model that is being trained is copied to be kept."""


class Keeping:
    """Autosave for a session, and the offer to restore."""

    def __init__(self, jobs: Jobs) -> None:
        self._say = jobs.listener.said
        self._autosave = Autosave(jobs.start, jobs.listener.failed)
        self._choice: ImageChoice | None = None
        self._key: str | None = None
        self._answered: set[str] = set()
        self._looks_again = False
        self.offer: Kept | None = None
        self._copied: tuple[object, ...] = ()
        self._copied_at = 0.0
        self._n_forgotten = 0
        self.note = self._autosave.note

    def look_for(self, choice: ImageChoice | None) -> None:
        """Find what was kept of an image, once for each, and again when an annotation has gone."""
        is_due = self._looks_again and not self._autosave.is_behind
        if choice is self._choice and not is_due:
            return
        key = None if choice is None else image_key(choice)
        if key != self._key or is_due:
            self.offer = None if key is None or key in self._answered else self._autosave.find(key)
        self._choice, self._key = choice, key
        self._looks_again = self._looks_again and not is_due

    def let_go(self, gone: "Mapping[Annotated, str]", classes: "Classes") -> None:
        """Keep what annotations held whose layers have gone, and offer it as soon as it is written."""
        for image, why in gone.items():
            if image.fits:
                self.note(image, classes)  # the last stroke came just before
            self._autosave.seal(image)
            self._answered.discard(image.key)
            self._say(f"{why}: what it held is kept")
        self._looks_again = True
        self._autosave.hurry(monotonic())

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
            self._autosave.flush()

        self._autosave.flush()
        self._copy_model(teaching, keep, at_once=True)  # what a job brings may come after the end

    def _copy_model(
        self, teaching: Teaching, keep: "Callable[[Model], object]", *, at_once: bool = False
    ) -> None:
        """Have the model copied, if it has learnt something, or its classes have been renamed, since then."""
        trainer = teaching.trainer
        if trainer is None or trainer.model is None or not trainer.can_predict:
            return
        now = trainer.model.network, trainer.steps, trainer.model.classes
        n_forgotten = self._n_forgotten

        def take(model: "Model") -> None:
            if n_forgotten == self._n_forgotten:
                self._copied = now
                keep(model)

        if now != self._copied:
            trainer.ask(take, at_once=at_once)

    def _keep_model(self, model: "Model") -> None:
        from napari_unet.core.modelfile import save_model  # torch is there, for there is a model

        self._autosave.note_model(model.task, partial(save_model, model, overwrite=True))

    def forget_model(self, task: Task) -> None:
        """Keep the model no more."""
        self._copied = ()
        self._n_forgotten += 1  # a copy may be on its way
        self._autosave.forget_model(task)

    def accept(self) -> tuple[Kept, ...]:
        """Return what was offered, after what was painted for another task; it stays on the disk."""
        offer = self._answer()
        if offer is None:
            return ()
        tasks = sorted(get_args(Task), key=lambda task: task == offer.task)
        found = [self._autosave.find(offer.key, task) for task in tasks]
        return tuple(each for each in found if each is not None)

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
    annotated.fill(kept.cells())
    for index in kept.complete:
        annotated.mark_complete(index, True)
    return annotated
