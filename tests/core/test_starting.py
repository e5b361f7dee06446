"""Models to start from: fresh ones, and those that keep what another has learnt."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from napari_unet.core import starting
from napari_unet.core.examples import Dataset
from napari_unet.core.networks import ARCHITECTURES
from napari_unet.core.objects import ObjectRules
from napari_unet.core.starting import Architecture, fine_tune
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel, Example

TINY = Architecture(width=2, depth=1)
new_model = partial(starting.new_model, device=torch.device("cpu"))


def dataset(values=(0, 1), axes="YX", spacing=None, n_channels=1):
    classes = tuple(ClassLabel(value + 1, value, f"class {value}") for value in values)
    spacing = spacing or (1.0,) * len(axes)
    shape = (8,) * len(axes)
    one = Example(np.zeros((n_channels, *shape), np.float32), np.ones(shape, int), spacing, "here")
    return Dataset((one,), "classes", classes, axes, spacing, "pixel", ("",) * n_channels, "percentile", ())


def weights_of(model):
    return model.network.state_dict()


def test_the_dataset_decides_on_channels_classes_axes_and_spacing():
    model = new_model(dataset((0, 1, 5), "ZYX", (4.0, 1.0, 1.0), 2), Architecture("unet", 2, 2))
    config = model.network.config
    assert (config.ndim, config.in_channels, config.n_classes, config.width, config.depth) == (3, 2, 3, 2, 2)
    assert config.pools[0] == (1, 2, 2)  # no pooling across coarse planes
    assert (model.axes, model.spacing, model.task) == ("ZYX", (4.0, 1.0, 1.0), "classes")
    assert [label.output_value for label in model.classes] == [0, 1, 5]


def test_the_seed_decides_on_the_weights_and_torchs_own_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again, other = (new_model(dataset(), TINY, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(
        torch.equal(a, b) for a, b in zip(weights_of(one).values(), weights_of(again).values(), strict=True)
    )
    assert not torch.equal(weights_of(one)["head.weight"], weights_of(other)["head.weight"])


def test_the_network_lives_on_the_fastest_device_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(starting, "choose_device", lambda: torch.device("meta"))
    deconvnet = Architecture("deconvnet", 2, 1)
    assert {value.device.type for value in starting.new_model(dataset(), deconvnet).network.parameters()} == {
        "meta"
    }
    on_cpu = starting.new_model(dataset(), deconvnet, device=torch.device("cpu"))
    assert {value.device.type for value in on_cpu.network.parameters()} == {"cpu"}


def test_an_unknown_architecture_is_named():
    with pytest.raises(ValueError, match="'resnet': choose one of unet"):
        new_model(dataset(), Architecture("resnet"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_classes_keep_every_layer(architecture):
    start = new_model(dataset(), Architecture(architecture, 2, 2 if architecture != "fcn8s" else 3), seed=1)
    model, anew = fine_tune(dataset(), start, seed=2)
    assert anew == () and model.architecture == architecture
    for name, value in weights_of(start).items():
        assert torch.equal(weights_of(model)[name], value), name


def test_rules_of_objects_are_kept_where_the_classes_are_the_same():
    objects = replace(dataset(), task="objects", classes=OBJECT_CLASSES)
    rules = ObjectRules(0.6, 0.8, 9, (9, 9))
    start = replace(new_model(objects, TINY), objects=rules)
    assert fine_tune(objects, start)[0].objects == rules
    assert fine_tune(replace(objects, channels=("a", "b")), start)[0].objects == rules
    assert fine_tune(dataset(), start)[0].objects is None


def test_the_model_to_start_from_stays_as_it_is():
    start = new_model(dataset(), TINY)
    model, _ = fine_tune(dataset(), start)
    with torch.no_grad():
        for value in model.network.parameters():
            value.zero_()
    assert all(value.any() for name, value in start.network.named_parameters() if name.endswith("weight"))


def test_classes_that_both_know_keep_their_weights_wherever_they_are():
    start = new_model(dataset((0, 1, 7)), TINY, seed=1)
    model, anew = fine_tune(dataset((1, 3, 7)), start, seed=2)
    old, new = weights_of(start)["head.weight"], weights_of(model)["head.weight"]
    assert torch.equal(new[0], old[1]) and torch.equal(new[2], old[2])
    assert torch.equal(new[1], weights_of(new_model(dataset((1, 3, 7)), TINY, seed=2))["head.weight"][1])
    assert anew == ()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_class_set_keeps_the_layers_that_fit(architecture):
    start = new_model(dataset((0, 1)), Architecture(architecture, 2, 3), seed=1)
    model, anew = fine_tune(dataset((0, 1, 2)), start, seed=2)
    assert model.network.config.n_classes == 3
    old, new = weights_of(start), weights_of(model)
    kept = [name for name in new if name not in anew and new[name].shape == old[name].shape]
    assert len(kept) > len(anew)
    for name in kept:
        assert torch.equal(new[name], old[name])
    model.network(torch.zeros(1, 1, *model.network.input_shape((32, 32))))


@pytest.mark.parametrize("architecture", ["fcn32s", "fcn8s"])
def test_score_maps_of_classes_that_both_know_follow_them_to_their_place(architecture):
    start = new_model(dataset((0, 1, 7)), Architecture(architecture, 2, 3), seed=1)
    with torch.no_grad():
        for weight in start.network.parameters():
            weight.uniform_()
    model, anew = fine_tune(dataset((7, 3, 0)), start, seed=2)
    old, new = weights_of(start), weights_of(model)
    fresh = weights_of(new_model(dataset((7, 3, 0)), Architecture(architecture, 2, 3), seed=2))
    for name in (name for name in new if name.startswith("scores.")):
        assert torch.equal(new[name][[0, 2]], old[name][[2, 0]])
        assert torch.equal(new[name][1], fresh[name][1])
    for name in (name for name in new if name.startswith("upsamples.")):
        assert torch.equal(new[name][0, 2], old[name][2, 0]) and torch.equal(new[name][0, 0], old[name][2, 2])
        assert torch.equal(new[name][1], fresh[name][1]) and torch.equal(new[name][:, 1], fresh[name][:, 1])
    assert anew == ()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_belongs_to_classes_starts_anew_where_none_is_known_and_is_named(architecture):
    """As many classes as before, but other ones."""
    start = new_model(dataset((0, 1)), Architecture(architecture, 2, 3), seed=1)
    _, anew = fine_tune(dataset((4, 5)), start, seed=2)
    of_classes = ("scores.", "upsamples.") if architecture.startswith("fcn") else ("head.",)
    assert anew == tuple(name for name in weights_of(start) if name.startswith(of_classes))


def test_a_volume_of_another_spacing_keeps_every_layer():
    start = new_model(dataset(axes="ZYX", spacing=(8.0, 1.0, 1.0)), Architecture("unet", 2, 2), seed=1)
    model, anew = fine_tune(dataset(axes="ZYX"), start, seed=2)
    assert anew == () and model.network.config == start.network.config
    assert model.spacing == (1.0, 1.0, 1.0)


def test_another_number_of_channels_starts_the_first_layer_anew_and_says_so():
    start = new_model(dataset(), Architecture("unet", 2, 1), seed=1)
    model, anew = fine_tune(dataset(n_channels=3), start, seed=2)
    assert len(anew) == 1 and model.network.config.in_channels == 3


def test_planes_cannot_start_from_volumes():
    with pytest.raises(ValueError, match="is for ZYX images: use --ndim 3"):
        fine_tune(dataset(), new_model(dataset(axes="ZYX"), TINY))


def test_examples_normalised_in_another_way_cannot_be_trained_further():
    start = new_model(dataset((0, 1), "YX", (1.0, 1.0), 1), Architecture("unet", 2, 1))
    other = replace(dataset((0, 1), "YX", (1.0, 1.0), 1), normalisation="percentile-asinh")
    with pytest.raises(ValueError, match="read them with normalisation='percentile'"):
        fine_tune(other, start)
