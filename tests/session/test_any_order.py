"""A user who does anything in any order, while jobs are at any point, leaves a session that works."""

import random
from dataclasses import replace

import numpy as np
import pytest

from napari_unet.session.classes import add_class, without_class
from napari_unet.session.desk import is_image
from napari_unet.session.images import ImageChoice, possible_axes

JOBS = ("training", "work", "predict_look", "predict_plane", "measure", "weigh", "load", "save", "_write_all")
VERBS = (
    *("annotate", "train", "train", "train", "stop", "pause", "resume", "new_model", "cancel"),
    *("take_prediction", "toggle_complete", "draw_box", "segment_slice", "segment_stack"),
    *("restore", "discard_kept", "toggle_prediction"),
)
OTHERS = (
    *("add", "remove", "swap", "rename", "choose", "move", "turn", "classes", "task", "options", "weights"),
    *("paint", "paint", "paint", "undo", "step", "step", "step", "step", "save", "load"),
)


class Monkey:
    """Does one thing after the other."""

    def __init__(self, session, start, blobs, folder, seed):
        self.session, self.start, self.blobs, self.folder = session, start, blobs, folder
        self.viewer, self.rng = session.viewer, random.Random(seed)

    def act(self):
        name = self.rng.choice((*VERBS, *OTHERS))
        getattr(self if name in OTHERS else self.session, name)()
        if self.rng.random() < 0.7:
            self.session.tick()

    def images(self):
        return [layer for layer in self.viewer.layers if is_image(layer)]

    def add(self):
        shape = self.rng.choice([(48, 48), (3, 32, 48), (10, 32, 32), (32, 32, 3)])
        if len(self.images()) < 3:
            data = self.blobs(*shape, seed=self.rng.randrange(9))
            self.viewer.add_image(data / 300, rgb=shape[-1] == 3, name=f"image {shape}")

    def remove(self):
        if len(self.viewer.layers) > 1:
            self.viewer.layers.remove(self.rng.choice(list(self.viewer.layers)))

    def swap(self):
        for layer in self.images()[:1]:
            shape = self.rng.choice([layer.data.shape, (48, 64), (2, 32, 32)])
            layer.data = layer.data if layer.rgb else self.blobs(*shape)

    def rename(self):
        for layer in list(self.viewer.layers)[:1]:
            layer.name = self.rng.choice("abc")

    def choose(self):
        for layer in self.images()[:1]:
            self.session.choose(ImageChoice((layer,), self.rng.choice(possible_axes(layer))))

    def move(self):
        for axis in range(self.viewer.dims.ndim - 2):
            self.viewer.dims.set_current_step(axis, self.rng.randrange(int(self.viewer.dims.nsteps[axis])))

    def turn(self):
        self.viewer.dims.ndisplay = self.rng.choice([2, 2, 3])

    def classes(self):
        now = self.session.state.classes
        number = self.rng.randrange(len(now))
        changed = [
            add_class(now),
            without_class(now, now[number].value) if len(now) > 2 else now,
            tuple(replace(each, is_background=each is now[number]) for each in now),
        ]
        self.session.set_classes(self.rng.choice(changed))

    def task(self):
        self.session.set_task(self.rng.choice(["classes", "objects"]))

    def options(self):
        self.session.set_settings(replace(self.session.settings, ndim=self.rng.choice([2, 2, 3])))

    def weights(self):
        self.session.show_weight_map(self.rng.random() < 0.7)

    def paint(self):
        self.session.tick()
        if self.session.desk.plane is not None:
            self.session.paint_both()

    def undo(self):
        if self.session.desk.current:
            self.session.desk.current.layer.undo()

    def step(self):
        for _ in range(self.rng.randrange(1, 8)):
            for job in self.start.running[:1]:
                self.rng.choice([job, *self.start.running]).step()

    def save(self):
        self.session.save_model(self.folder / "model.safetensors")

    def load(self):
        self.session.load_model(self.folder / "model.safetensors")


@pytest.mark.parametrize("seed", range(8))
def test_anything_in_any_order(seed, viewer, blobs, new_session, by_hand, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_unet.session.autosave.PAUSE_SECONDS", 0)
    monkeypatch.setattr("napari_unet.session.keeping.MODEL_SECONDS", 0)
    monkeypatch.setattr("napari_unet.session.previews.PIECE", {2: 32, 3: 32})
    by_hand.names = JOBS
    session = new_session(viewer, by_hand)
    monkey = Monkey(session, by_hand, blobs, tmp_path, seed)
    monkey.add()
    for _ in range(50):
        monkey.act()
    session.stop()
    session.cancel()
    by_hand.finish()
    assert all("\n" not in sentence for sentence in session.failures)

    viewer.layers.clear()
    viewer.dims.ndisplay = 2
    viewer.add_image(blobs(64, 64), name="another")
    session.set_task("classes")
    session.set_settings(replace(session.settings, ndim=2))
    session.tick()
    session.new_model()
    session.failures.clear()
    session.paint_both()
    session.train()
    by_hand.until(lambda: session.trainer and session.trainer.steps > 0)
    assert np.any(session.desk.current.layer.data) and not session.failures
    session.close()
    by_hand.finish()
