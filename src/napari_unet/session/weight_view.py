"""The weight map of the plane that is shown, kept up to date with plane, strokes and settings."""

from napari.components import ViewerModel

from napari_unet.core.targets import TargetOptions
from napari_unet.session.annotated import Annotated
from napari_unet.session.desk import Desk
from napari_unet.session.images import Index
from napari_unet.session.jobs import Jobs
from napari_unet.session.overlays import WeightMap
from napari_unet.session.teaching import Teaching
from napari_unet.session.weighing import Wish


class WeightView:
    """Show what each pixel weighs in the training, as long as that is wanted."""

    def __init__(self, viewer: ViewerModel, desk: Desk, teaching: Teaching, jobs: Jobs) -> None:
        self._desk, self._teaching = desk, teaching
        self._map = WeightMap(viewer, jobs.start, jobs.listener.failed)
        self._is_measuring = False
        self.is_on = False

    def show(self, on: bool) -> None:
        """Show it from now on, or take it away."""
        self.is_on = on
        if on:
            self.follow()
        else:
            self._map.remove()

    def follow(self) -> None:
        """Want the weights of what is shown now; a deleted layer says that none are wanted."""
        if self.is_on and self._map.is_deleted:
            self.show(False)
        image, plane = self._desk.current, self._desk.plane
        if not self.is_on or self._is_measuring or image is None or plane is None:
            return
        self._is_measuring = True
        self._teaching.when_ready(lambda: self._weigh(image, plane), self._give_up)

    def _give_up(self) -> None:
        """Take it away rather than fail, and tell so, at every look."""
        self._is_measuring = False
        self.show(False)

    def _weigh(self, image: Annotated, plane: Index) -> None:
        self._is_measuring = False
        if image not in self._desk.images:  # deleted meanwhile
            return
        settings = self._teaching.settings
        options = TargetOptions(self._desk.task, self._desk.labels, settings.w0, settings.sigma)
        try:
            examples = self._teaching.examples()
        except ValueError:
            self._give_up()
            raise
        own = tuple(each for each in examples if each.source == image.source)
        others = tuple(each for each in examples if each.source != image.source)
        self._map.update(Wish(image.choice, plane, own, options, settings.loss == "weighted-ce", others))
