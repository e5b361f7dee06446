"""The supply of batches: what it asks of the memory, and how it asks for less."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch

from napari_unet.core import supply as supply_module
from napari_unet.core.augment import MANY_IMAGES, ONE_STACK
from napari_unet.core.draining import drain
from napari_unet.core.examples import Dataset
from napari_unet.core.starting import Architecture, new_model
from napari_unet.core.supply import Supply, TrainConfig
from napari_unet.core.targets import OBJECT_CLASSES, Example, annotated_classes
from napari_unet.core.validation import Holdout

CPU = torch.device("cpu")
TINY = Architecture(width=2, depth=1)
CLASSES = annotated_classes([1, 2], dense=True)


def example(shape=(256, 256), spacing=None, source="here"):
    """Both classes, half and half."""
    annotation = np.ones(shape, int)
    annotation[..., : shape[-1] // 2] = 2
    return Example(np.zeros((1, *shape), np.float32), annotation, spacing or (1.0,) * len(shape), source)


def supply(architecture, *examples, task="classes", **config):
    """A supply that follows the examples, and the network that it is for."""
    classes = OBJECT_CLASSES if task == "objects" else CLASSES
    axes, spacing = "ZYX"[-examples[0].annotation.ndim :], examples[0].spacing
    dataset = Dataset(examples, task, classes, axes, spacing, "pixel", ("",), "percentile", ())
    model = new_model(dataset, architecture, device=CPU)
    made = Supply(model, TrainConfig(**config))
    drain(made.follow(examples, 0))
    return made, model.network


def test_batches_of_objects_say_how_much_is_core_and_those_of_classes_do_not():
    batches = {
        task: supply(Architecture(width=2, depth=1), example((64, 64)), task=task, batch_size=2)[0].draw()
        for task in ("objects", "classes")
    }
    share, classes = batches["objects"].core_share, batches["objects"].classes
    assert share.shape == classes.shape and (share[classes == 1] <= 0.5).all()
    assert (share[classes == 2] > 0.5).all() and (classes == 2).any()
    assert batches["classes"].core_share is None


@pytest.mark.parametrize(
    ("sources", "little", "expected"),
    [(("one", "one"), 0, ONE_STACK), (("one", "one"), 10**6, MANY_IMAGES), (("one", "two"), 0, MANY_IMAGES)],
)
def test_what_differs_and_what_is_little_is_changed_more(sources, little, expected, monkeypatch):
    used = []
    real = supply_module.BatchSource
    monkeypatch.setattr(supply_module, "LITTLE", little)
    monkeypatch.setattr(supply_module, "BatchSource", lambda *a, **o: used.append(a[2]) or real(*a, **o))
    supply(TINY, *(example((16, 16), (1.0, 1.0), source) for source in sources))
    assert used == [expected]


def test_strengths_that_are_given_leave_the_others_as_they_are(monkeypatch):
    used = []
    real = supply_module.BatchSource
    monkeypatch.setattr(supply_module, "BatchSource", lambda *a, **o: used.append(a[2]) or real(*a, **o))
    for augmentation in (None, ONE_STACK):
        supply(TINY, example((16, 16)), augmentation=augmentation, strengths={"scale": 0.1})
    assert used == [replace(preset, scale=0.1) for preset in (MANY_IMAGES, ONE_STACK)]


@pytest.mark.parametrize(
    ("shape", "spacing", "rigid"),
    [((8, 16, 16), (50.0, 4.0, 4.0), (0,)), ((8, 16, 16), (2.0, 1.0, 1.0), ()), ((16, 16), (4.0, 4.0), ())],
)
def test_nothing_bends_along_voxels_more_than_twice_as_long(shape, spacing, rigid, monkeypatch):
    used = []
    real = supply_module.BatchSource
    monkeypatch.setattr(supply_module, "BatchSource", lambda *a, **o: used.append(a[2]) or real(*a, **o))
    supply(TINY, example(shape, spacing, "one"), example(shape, spacing, "two"))
    assert used == [replace(MANY_IMAGES, rigid=rigid)]


def shrunk(made):
    """Shrink until it is refused; return the shapes of the batches, and the words of the refusal."""
    shapes = [made.draw().images.shape]
    while len(shapes) < 50:
        try:
            made.shrink()
        except MemoryError as error:
            return [tuple(shape) for shape in shapes], str(error)
        shapes.append(made.draw().images.shape)
    raise AssertionError(f"never refused: {shapes}")


def test_valid_padding_halves_what_is_predicted_down_to_the_smallest_input():
    made, network = supply(Architecture("paper", 2, 4), example(), batch_size=2)
    shapes, words = shrunk(made)
    assert [shape[0] for shape in shapes] == [2, 1, 1, 1, 1]
    assert [shape[2:] for shape in shapes[1:]] == [(side, side) for side in (252, 220, 204, 188)]
    assert shapes[-1][2:] == network.input_shape((1, 1))
    assert words == (
        "memory does not suffice for batches of shape (1, 188, 188): use a smaller --width or --depth"
    )


def test_a_patch_larger_than_the_images_is_halved_until_that_makes_a_difference():
    made, _ = supply(Architecture(width=2, depth=2), example((40, 40)), batch_size=1, patch_size=1000)
    assert [shape[2:] for shape in shrunk(made)[0]] == [(40, 40), (32, 32), (16, 16), (8, 8)]


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        (Architecture(width=2, depth=3), (64, 64)),
        (Architecture(width=2, depth=3), (8, 8)),
        (Architecture(width=2, depth=2), (4, 8, 8)),
        (Architecture("deconvnet", 2, 3), (30, 70)),
        (Architecture("paper", 2, 2), (30, 70)),
    ],
)
def test_whatever_is_left_after_shrinking_can_be_trained_on(architecture, shape):
    """Batch norm refuses a single value for a channel."""
    made, network = supply(architecture, example(shape))
    network.train()
    shapes, words = shrunk(made)
    for each in shapes:
        assert torch.isfinite(network(torch.zeros(each))).all()
    assert "use a smaller --width or --depth" in words and f"({shapes[-1][0]}, " in words
    assert prod(shapes[-1]) < prod(shapes[0])


def test_what_is_held_out_is_remembered_while_examples_change():
    one = replace(example(), place=(0, 0, 0))
    made, _ = supply(TINY, one)
    held = len(made.validation)
    grown = replace(example((256, 300)), place=(0, 0, 0))
    grown.annotation[:, :256] = one.annotation
    grown.annotation[:, 256:] = 0
    summary = drain(made.follow((grown,), 5))
    assert summary.how == "blocks of the annotated area are held out" and len(made.validation) == held
    assert torch.isfinite(made.draw().images).all()


def test_a_supply_goes_on_with_what_an_earlier_training_has_held_out():
    examples = tuple(replace(example(), place=(index, 0, 0)) for index in range(3))
    holdout = Holdout()
    model = supply(TINY, *examples)[0]._model
    held = []
    for seed in (0, 1):
        made = Supply(model, TrainConfig(seed=seed), holdout)
        drain(made.follow(examples, 0))
        held.append([piece.image.tobytes() + piece.classes.tobytes() for piece in made.validation])
    assert held[0] == held[1]


@pytest.mark.parametrize(("shape", "sizes"), [((32, 32), [4, 8, 16]), ((8, 16, 16), [2, 2, 4])])
def test_first_batches_are_small_where_a_step_is_named(shape, sizes):
    made, _ = supply(TINY, example(shape))
    assert [len(made.draw(step).images) for step in (0, 16, 32)] == sizes
    assert len(made.draw().images) == sizes[-1]


def test_a_batch_of_a_given_size_is_never_small():
    made, _ = supply(TINY, example((32, 32)), batch_size=5)
    assert len(made.draw(0).images) == 5
