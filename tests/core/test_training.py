"""Training: it learns, repeats, survives, and follows what is wanted while it goes on."""

from dataclasses import replace
from functools import partial
from itertools import count, pairwise

import numpy as np
import pytest
import torch

from napari_unet.core import predicting, stopwatch, supply, training
from napari_unet.core.augment import Augmentation
from napari_unet.core.draining import drain
from napari_unet.core.examples import Dataset
from napari_unet.core.inference import Predictor
from napari_unet.core.losses import LOSSES
from napari_unet.core.modelfile import model_hash
from napari_unet.core.networks import ARCHITECTURES
from napari_unet.core.numbered import connected_objects
from napari_unet.core.objects import ObjectRules
from napari_unet.core.predicting import predict
from napari_unet.core.starting import Architecture, new_model
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel, Example
from napari_unet.core.thresholds import MAX_FIT_PIXELS, count_annotated, sized
from napari_unet.core.training import TrainConfig, View, Wanted, train
from napari_unet.samples import nuclei_stack

CPU = torch.device("cpu")
CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "bright"))
QUICK = TrainConfig(steps=3, patch_size=32, batch_size=2)
LEARNING = TrainConfig(steps=80, patch_size=32, batch_size=4, learning_rate=0.05)


def bright_discs(shape=(64, 64), seed=0, source="here"):
    """Noise with bright discs on it; annotation 1 = background, 2 = disc."""
    rng = np.random.default_rng(seed)
    places = np.indices(shape)
    inside = np.zeros(shape, bool)
    for centre in rng.uniform(0, shape, (12, len(shape))):
        inside |= sum((place - at) ** 2 for place, at in zip(places, centre, strict=True)) < 49
    image = (inside - 0.5 + rng.normal(0, 0.4, shape)).astype(np.float32)
    return Example(image[None], inside + 1, (1.0,) * len(shape), source)


def model_for(examples, architecture=None, seed=0, classes=CLASSES, task="classes", device=CPU):
    first = examples[0]
    axes = "ZYX"[-first.annotation.ndim :]
    data = Dataset(
        tuple(examples),
        task,
        classes,
        axes,
        first.spacing,
        "pixel",
        ("",) * len(first.image),
        "percentile",
        (),
    )
    return new_model(data, architecture or Architecture(width=4, depth=2), seed=seed, device=device)


def run(examples, config=QUICK, **options):
    """Train to the end; return the result and all updates."""
    updates = []
    result = drain(train(model_for(examples, **options), Wanted(tuple(examples)), config), updates.append)
    return result, updates


def messages(updates):
    return " | ".join(update.message for update in updates if update.message)


def weights_of(model):
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def finite(model):
    return all(torch.isfinite(value).all() for value in model.network.state_dict().values())


def test_a_simple_task_is_learnt_in_a_few_steps():
    result, _ = run([bright_discs((96, 96), seed) for seed in range(2)], LEARNING)
    assert result.score.pixel_accuracy > 0.95 and result.score.mean_dice > 0.9
    assert result.steps == 80 and result.model.training["steps"] == 80


def test_the_result_predicts_as_well_as_its_score_says():
    """On an example that it has never seen, with the weights of the model that comes back."""
    result, _ = run([bright_discs((96, 96))], LEARNING)
    unseen = bright_discs((96, 96), seed=9)
    predicted = predict(Predictor(result.model.network), unseen.image).argmax(0)
    assert (predicted + 1 == unseen.annotation).mean() > 0.9


@pytest.mark.parametrize("architecture", [Architecture(width=4, depth=2), Architecture("paper", 2, 1)])
def test_the_same_seed_and_steps_give_the_same_weights_bit_for_bit(architecture):
    config = replace(QUICK, steps=4)
    torch.manual_seed(1)
    first = weights_of(run([bright_discs()], config, architecture=architecture)[0].model)
    torch.manual_seed(2)  # whatever else was drawn before
    again = weights_of(run([bright_discs()], config, architecture=architecture)[0].model)
    other = weights_of(run([bright_discs()], replace(config, seed=1), architecture=architecture)[0].model)
    assert same(first, again) and not same(first, other)


def test_training_leaves_the_generators_of_others_alone():
    """Also dropout, which has none of its own."""
    example = bright_discs()
    model = model_for([example])
    model.network.dropout.p = 0.5
    torch.manual_seed(7)
    np.random.seed(7)
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    trained(model, example)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpys).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("architecture", ["unet", "paper", "fcn8s", "deconvnet"])
def test_the_same_seed_and_steps_give_the_same_weights_on_a_gpu(architecture):
    options = {"architecture": Architecture(architecture, 8, 3), "device": torch.device("cuda")}
    examples = [bright_discs((128, 128), seed, f"image {seed}") for seed in range(2)]
    config = TrainConfig(steps=20, patch_size=64, batch_size=8)
    first, again = (weights_of(run(examples, config, **options)[0].model) for _ in range(2))
    assert same(first, again)


@pytest.mark.parametrize(("config", "repeats"), [(QUICK, True), (TrainConfig(minutes=0.001), False)])
def test_cudnn_is_told_to_repeat_itself_while_a_given_number_of_steps_is_taken(config, repeats, monkeypatch):
    seen = set()
    real = training.Learner.learn

    def learn(self, batch, rate):
        seen.add((cudnn.deterministic, cudnn.benchmark))
        return real(self, batch, rate)

    cudnn = torch.backends.cudnn
    monkeypatch.setattr(training.Learner, "learn", learn)
    monkeypatch.setattr(cudnn, "benchmark", True)
    example = bright_discs()
    between = set()
    drain(
        train(model_for([example]), Wanted((example,)), config),
        lambda _: between.add((cudnn.deterministic, cudnn.benchmark)),
    )
    assert seen == {(repeats, not repeats)} and between == {(False, True)}


def test_a_view_that_is_looked_at_changes_no_weight():
    example = bright_discs()
    expected = weights_of(run([example])[0].model)
    wanted = Wanted((example,), View(example.image))
    assert same(expected, weights_of(drain(train(model_for([example]), wanted, QUICK)).model))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains(loss):
    result, updates = run([bright_discs()], replace(QUICK, loss=loss, steps=20))
    scores = [update.score.pixel_accuracy for update in updates if update.score]
    assert finite(result.model) and scores[-1] > 0.6
    assert result.model.training["loss"] == loss


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_trains(architecture):
    depth = 3 if architecture.startswith("fcn") else 2
    result, _ = run(
        [bright_discs()], replace(QUICK, steps=2), architecture=Architecture(architecture, 2, depth)
    )
    assert finite(result.model) and result.steps == 2


def test_objects_train_with_a_weight_map_between_them():
    example = bright_discs()
    halves = np.where(np.arange(64) < 32, 2, 3)
    objects = replace(example, annotation=np.where(example.annotation == 1, 1, halves))
    result, _ = run([objects], task="objects", classes=OBJECT_CLASSES)
    assert result.model.task == "objects" and finite(result.model)


def discs_as_objects(shape=(64, 64), seed=0):
    """Numbered discs on labelled background."""
    example = bright_discs(shape, seed)
    return replace(example, annotation=connected_objects(example.annotation == 2).astype(int) + 1)


def test_rules_of_objects_are_fitted_at_the_end_and_equal_runs_fit_equal_ones(monkeypatch):
    clock = iter(count(0.0, 0.5))
    config, options = replace(QUICK, steps=30), {"task": "objects", "classes": OBJECT_CLASSES}
    first, _ = run([discs_as_objects()], config, **options)
    monkeypatch.setattr(training, "perf_counter", lambda: next(clock))  # all the same how slow it is
    again, _ = run([discs_as_objects()], config, **options)
    assert first.model.objects is not None and first.model.objects.min_size > 0
    assert first.model.objects.reach == sized([count_annotated(discs_as_objects().annotation)]).reach
    assert model_hash(first.model) == model_hash(again.model)


def no_memory(*_, error=None):
    raise error or MemoryError


LEARNT = ObjectRules(0.6, 0.8, 9, (9, 9))


def objects_model(example):
    model = model_for([example], task="objects", classes=OBJECT_CLASSES)
    return replace(model, objects=LEARNT, training={"objects_fitted_to": "held-out"})


def test_rules_of_objects_are_kept_until_a_step_is_taken(monkeypatch):
    monkeypatch.setattr(training.Learner, "learn", no_memory)
    example = discs_as_objects()
    wishes, models = Wishes(Wanted((example,))), []
    steps = train(objects_model(example), wishes, QUICK)
    while "the batch is now" not in next(steps).message:
        pass
    wishes.now = replace(wishes.now, snapshot=object())
    while not models:
        models += [model for model in [next(steps).model] if model]
    wishes.now = replace(wishes.now, stop=True)
    models.append(drain(steps).model)
    for model in models:
        assert model.objects == LEARNT and model.training["objects_fitted_to"] == "held-out"


def test_rules_of_objects_are_kept_where_no_object_is_whole():
    example = discs_as_objects()
    cut = replace(example, annotation=np.where(np.indices((64, 64))[1] < 32, 1, 2))
    rules = trained(objects_model(cut), cut).model.objects
    assert (rules.foreground, rules.core, rules.min_size, rules.reach) == (0.6, 0.8, 9, (64, 32))


def fit_calls(monkeypatch):
    """Numbers of pixels that thresholds may be fitted to, and whether a fit is under way."""
    given = []
    real = training.ObjectThresholds.fit

    def fit(self, supply, predictor, n_pixels=MAX_FIT_PIXELS):
        given.append(n_pixels)
        return real(self, supply, predictor, n_pixels)

    monkeypatch.setattr(training.ObjectThresholds, "fit", fit)
    return given


def test_while_somebody_looks_on_thresholds_are_fitted_to_few_pixels_and_at_the_end_to_many(monkeypatch):
    given = fit_calls(monkeypatch)
    example = discs_as_objects()
    wishes = Wishes(Wanted((example,), View(example.image)))
    steps = train(objects_model(example), wishes, TrainConfig(patch_size=32, batch_size=2))
    while not given:
        next(steps)
    assert 0 < given[0] < MAX_FIT_PIXELS / 4
    wishes.now = replace(wishes.now, stop=True)
    drain(steps)
    assert given[-1] == MAX_FIT_PIXELS


def test_a_snapshot_has_the_last_thresholds_and_fits_none(monkeypatch):
    """It is asked for every few seconds to be kept, and must cost the training next to nothing."""
    given = fit_calls(monkeypatch)
    example = discs_as_objects()
    wishes = Wishes(Wanted((example,)))
    steps = train(objects_model(example), wishes, TrainConfig(patch_size=32, batch_size=2))
    models = []
    while len(models) < 5:
        update = next(steps)
        models += [update.model] if update.model else []
        wishes.now = replace(wishes.now, snapshot=object())
    assert not given and all(model.objects == LEARNT for model in models)
    wishes.now = replace(wishes.now, stop=True)
    assert drain(steps).model.objects != LEARNT and len(given) == 1


def test_a_snapshot_before_the_first_fit_has_the_sizes_of_what_is_annotated():
    example = discs_as_objects()
    wishes = Wishes(Wanted((example,)))
    fresh = model_for([example], task="objects", classes=OBJECT_CLASSES)
    steps = train(fresh, wishes, TrainConfig(patch_size=32, batch_size=2))
    while next(steps).step < 1:
        pass
    wishes.now = replace(wishes.now, snapshot=object())
    model = next(update.model for update in steps if update.model)
    assert model.objects == sized([count_annotated(discs_as_objects().annotation)])
    assert model.training["objects_fitted_to"] == "none"
    steps.close()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_memory_that_does_not_suffice_to_fit_rules_of_objects_loses_no_training(error, monkeypatch):
    monkeypatch.setattr(training.ObjectThresholds, "fit", partial(no_memory, error=error))
    example, updates = discs_as_objects(), []
    model = objects_model(example)
    start = weights_of(model)
    result = drain(train(model, Wanted((example,)), QUICK), updates.append)
    assert "out of memory: thresholds of the last steps are missing" in messages(updates)
    assert result.model.objects == LEARNT and result.score is not None
    assert result.steps == 3 and not same(start, weights_of(result.model))


def test_a_model_of_objects_says_what_its_rules_are_fitted_to():
    few = run([discs_as_objects()], QUICK, task="objects", classes=OBJECT_CLASSES)[0].model
    assert few.training["objects_fitted_to"] == "all"
    example = discs_as_objects()
    cut = replace(example, annotation=np.where(np.indices((64, 64))[1] < 32, 1, 2))
    none = run([cut], QUICK, task="objects", classes=OBJECT_CLASSES)[0].model
    assert none.training["objects_fitted_to"] == "none"
    assert (none.objects.foreground, none.objects.core) == (0.5, 0.6)
    assert "objects_fitted_to" not in run([bright_discs()])[0].model.training


def test_there_are_no_rules_of_objects_where_classes_are_told_apart():
    assert run([bright_discs()])[0].model.objects is None


def test_a_volume_with_flat_voxels_trains():
    volume = replace(bright_discs((6, 40, 40)), spacing=(4.0, 1.0, 1.0))
    result, updates = run([volume])
    assert result.model.axes == "ZYX" and finite(result.model) and updates


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (7, 9), (1, 1, 40), (1, 12, 12)])
def test_images_smaller_than_a_patch_and_thin_axes_train(shape):
    example = bright_discs(shape)
    example.annotation.flat[:2] = 1, 2
    result, _ = run([example], TrainConfig(steps=2))
    assert finite(result.model)


def test_a_constant_image_and_several_channels_train():
    example = bright_discs()
    image = np.stack([np.zeros((64, 64), np.float32), example.image[0], np.ones((64, 64), np.float32)])
    result, _ = run([replace(example, image=image), replace(example, image=image * 0, source="other")])
    assert result.model.network.config.in_channels == 3 and finite(result.model)


def test_big_endian_and_read_only_annotations_train():
    example = bright_discs()
    annotation = example.annotation.astype(">i4")
    annotation.flags.writeable = example.image.flags.writeable = False
    assert finite(run([replace(example, annotation=annotation)])[0].model)


def test_sparse_strokes_are_enough_and_it_is_said_that_the_score_is_optimistic():
    example = bright_discs()
    strokes = np.zeros((64, 64), int)
    strokes[[10, 11, 40]] = example.annotation[[10, 11, 40]]
    result, updates = run([replace(example, annotation=strokes)], replace(QUICK, steps=30))
    assert "score is optimistic" in messages(updates)
    assert result.score.pixel_accuracy > 0.7


def test_an_update_says_how_it_goes():
    _, updates = run([bright_discs()], replace(QUICK, steps=6))
    scored = [update for update in updates if update.score]
    assert [update.step for update in updates] == sorted(update.step for update in updates)
    assert all(a.seconds <= b.seconds for a, b in pairwise(updates))
    assert all(np.isfinite(update.loss) and update.steps_per_second > 0 for update in scored[1:])
    assert all(len(update.score.dice) == len(update.score.iou) == 2 for update in scored)
    assert updates[-1].progress <= 1


def test_minutes_end_it():
    result, _ = run([bright_discs()], TrainConfig(minutes=0.01, patch_size=32))
    assert 0.6 <= result.seconds < 10 and result.steps > 0


def test_what_ends_while_a_score_is_in_pieces_has_one(monkeypatch):
    monkeypatch.setattr(training, "UPDATE_SECONDS", 0)
    example = bright_discs((700, 700))
    wishes = Wishes(Wanted((example,)))
    steps, updates = train(model_for([example]), wishes, TrainConfig(patch_size=32, batch_size=2)), []
    while not (updates and updates[-1].step):
        updates.append(next(steps))
    assert not any(update.score for update in updates)
    wishes.now = replace(wishes.now, stop=True)
    assert drain(steps).score is not None


def test_a_fit_for_which_memory_is_short_keeps_no_score_from_coming(monkeypatch):
    clock = count(0.0, 0.05)
    monkeypatch.setattr(stopwatch, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(training.ObjectThresholds, "fit", no_memory)
    example, updates = discs_as_objects(), []
    model = model_for([example], task="objects", classes=OBJECT_CLASSES)
    wanted = Wanted((example,), View(example.image))
    drain(train(model, wanted, TrainConfig(minutes=0.25, patch_size=32, batch_size=2)), updates.append)
    n_failed = messages(updates).count("out of memory for fitting thresholds: objects are found as before")
    assert 1 <= n_failed <= 15 / training.FIT_SECONDS
    assert sum(update.score is not None for update in updates) > n_failed


@pytest.mark.parametrize(("keep", "kept"), [("best", 0.9), ("latest", 0.3)])
def test_the_best_weights_are_kept_or_those_that_were_seen_last(monkeypatch, keep, kept):
    """The score is made to fall after its third measurement."""
    scores, snapshots = iter([0.2, 0.5, 0.9, *[0.3] * 99]), {}
    real = training.score

    def fake(targets, predict, n_classes):
        found = yield from real(targets, predict, n_classes)
        value = next(scores)
        return replace(found, dice=(value, value))

    monkeypatch.setattr(training, "score", fake)
    steps = train(model_for([bright_discs()]), Wanted((bright_discs(),)), replace(QUICK, steps=6, keep=keep))
    run_of = steps.gi_frame
    try:
        while True:
            update = next(steps)
            if update.score:
                snapshots[update.score.mean_dice] = run_of.f_locals["run"]._learner.snapshot()
    except StopIteration as end:
        assert same(snapshots[kept], weights_of(end.value.model))
        assert end.value.score.mean_dice == kept


def test_a_loss_that_is_not_finite_goes_back_halves_the_rate_and_says_so(monkeypatch):
    calls = count()
    real = LOSSES["ce+dice"]

    def sometimes(logits, classes, weight):
        return real(logits, classes, weight) * (float("nan") if next(calls) == 2 else 1.0)

    monkeypatch.setitem(LOSSES, "ce+dice", sometimes)
    result, updates = run([bright_discs()], replace(QUICK, steps=6, learning_rate=0.01))
    assert "the loss is not finite: back to the last good weights, learning rate 0.005" in messages(updates)
    assert finite(result.model) and result.steps == 6


def test_a_loss_that_is_never_finite_ends_training_with_a_finite_model(monkeypatch):
    monkeypatch.setitem(LOSSES, "ce+dice", lambda logits, classes, weight: logits.sum() * float("inf"))
    example = bright_discs()
    start = weights_of(model_for([example]))
    result, updates = run([example], replace(QUICK, steps=1000))
    assert finite(result.model) and same(start, weights_of(result.model))
    assert result.steps < 1000 and "training ends" in messages(updates)


@pytest.mark.parametrize("rate", [1e12, 1e20, 1e38])
def test_weights_that_explode_are_never_what_comes_back(rate):
    result, updates = run([bright_discs()], replace(QUICK, steps=8, learning_rate=rate))
    assert finite(result.model), messages(updates)


def out_of_memory_above(monkeypatch, n_pixels):
    """Let the network run out of memory for batches of more pixels; return the sizes that were tried."""
    tried = []
    real = training.Learner.learn

    def learn(self, batch, rate):
        tried.append(tuple(batch.images.shape))
        if batch.images.numel() > n_pixels:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, batch, rate)

    monkeypatch.setattr(training.Learner, "learn", learn)
    return tried


def test_short_memory_halves_the_batch_then_the_patch_and_goes_on(monkeypatch):
    tried = out_of_memory_above(monkeypatch, 600)
    result, updates = run([bright_discs()], TrainConfig(steps=3, patch_size=48, batch_size=4))
    assert tried[:4] == [(4, 1, 48, 48), (2, 1, 48, 48), (1, 1, 48, 48), (1, 1, 24, 24)]
    said = messages(updates)
    assert "the batch is now 2 patches" in said and "a patch is now (24, 24) pixels" in said
    assert result.steps == 3


def no_memory_to_predict(monkeypatch, from_call=0):
    """Let memory run out whenever something is predicted, from some call on."""
    calls = count()
    real = predicting.predict_in_tiles

    def fail(*case):
        if next(calls) >= from_call:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(*case)

    monkeypatch.setattr(predicting, "predict_in_tiles", fail)


def test_memory_that_does_not_suffice_to_score_or_preview_ends_no_training(monkeypatch):
    no_memory_to_predict(monkeypatch)
    example = bright_discs()
    model, updates = model_for([example]), []
    start = weights_of(model)
    wanted = Wanted((example,), View(example.image))
    result = drain(train(model, wanted, replace(QUICK, steps=6)), updates.append)
    assert "out of memory for scoring: the network is not scored now" in messages(updates)
    assert "out of memory for a prediction of the view" in messages(updates)
    assert not any(update.score or update.preview is not None for update in updates)
    assert result.steps == 6 and result.score is None
    assert finite(result.model) and not same(start, weights_of(result.model))  # what was learnt is kept


def test_the_best_weights_come_back_where_memory_does_not_suffice_for_the_last_score(monkeypatch):
    example = bright_discs()
    best = []
    no_memory_to_predict(monkeypatch, from_call=1)
    steps = train(model_for([example]), Wanted((example,)), QUICK)
    frame = steps.gi_frame

    def keep(update):
        if update.score:
            best.append((update.score, frame.f_locals["run"]._learner.snapshot()))

    result = drain(steps, keep)
    assert len(best) == 1 and result.score is best[0][0] and same(best[0][1], weights_of(result.model))


def test_memory_that_does_not_suffice_to_preview_does_not_flood_with_messages(monkeypatch):
    no_memory_to_predict(monkeypatch)
    monkeypatch.setattr(training, "UPDATE_SECONDS", 1000)
    example, updates = bright_discs(), []
    wanted = Wanted((example,), View(example.image))
    drain(train(model_for([example]), wanted, replace(QUICK, steps=15)), updates.append)
    assert messages(updates).count("out of memory for a prediction of the view") == 1


def test_other_errors_in_scoring_are_not_taken_for_short_memory(monkeypatch):
    def fail(*case):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(predicting, "predict_in_tiles", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run([bright_discs()])


def test_weights_that_are_not_finite_have_no_score_and_are_not_what_comes_back(monkeypatch):
    """Also where they are the only ones that there are."""
    real = training.Learner.learn

    def learn(self, batch, rate):
        loss = real(self, batch, rate)
        for weight in self.average.parameters():
            weight.fill_(float("nan"))
        return loss

    monkeypatch.setattr(training.Learner, "learn", learn)
    example = bright_discs()
    model = model_for([example])
    start, updates = weights_of(model), []
    result = drain(train(model, Wanted((example,)), replace(QUICK, steps=2)), updates.append)
    assert "the weights are not finite: back to the last good weights" in messages(updates)
    assert not any(update.score for update in updates) and result.score is None
    assert same(start, weights_of(result.model))


def test_short_memory_is_remembered_when_new_strokes_come(monkeypatch):
    tried = out_of_memory_above(monkeypatch, 600)
    wishes = [Wanted((bright_discs(),))] * 6 + [Wanted((bright_discs(seed=1),))] * 9
    drain(
        train(
            model_for([bright_discs()]),
            lambda: wishes.pop(0),
            TrainConfig(steps=4, patch_size=48, batch_size=2),
        )
    )
    assert tried.count((1, 1, 48, 48)) == 1


@pytest.mark.parametrize("architecture", [None, Architecture("paper", 2, 1)])
def test_memory_that_never_suffices_is_one_clear_error(architecture, monkeypatch):
    tried = out_of_memory_above(monkeypatch, 0)
    with pytest.raises(MemoryError, match="use a smaller --width or --depth"):
        run([bright_discs()], TrainConfig(steps=3), architecture=architecture)
    assert len(tried) < 20


def test_other_errors_of_torch_are_not_taken_for_short_memory(monkeypatch):
    def fail(self, batch, rate):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(training.Learner, "learn", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run([bright_discs()])


class Wishes:
    """Whoever wants something: counts how often it is asked, and changes its mind."""

    def __init__(self, first):
        self.now, self.asked = first, 0

    def __call__(self):
        self.asked += 1
        return self.now


def test_a_new_view_is_predicted_after_the_first_steps_and_at_once_after_every_change():
    example = bright_discs()
    wishes = Wishes(Wanted((example,), View(example.image)))
    steps = train(model_for([example]), wishes, replace(QUICK, steps=50))
    first = first_preview(steps)
    assert 0 < first.step <= training.FIRST_STEPS and first.view is wishes.now.view
    assert first.preview.shape == (2, 64, 64) and first.preview.dtype == np.float32
    np.testing.assert_allclose(first.preview.sum(0), 1, atol=1e-3)
    while (update := next(steps)).step < 8:
        pass
    wishes.now = replace(wishes.now, view=View(example.image[:, :20, :30]))
    following = [next(steps) for _ in range(3)]
    changed = next(update for update in following if update.view is wishes.now.view)
    assert changed.preview.shape == (2, 20, 30) and changed.step <= update.step + 1


def first_preview(steps):
    return next(update for update in steps if update.preview is not None)


@pytest.mark.parametrize("how", ["trained before", "going on"])
def test_a_network_that_knows_something_shows_it_before_the_first_step(how):
    example = bright_discs()
    result = trained(model_for([example]), example)
    model, learner = (result.model, result.learner) if how == "going on" else (result.model, None)
    steps = train(model, Wanted((example,), View(example.image)), QUICK, learner)
    assert first_preview(steps).step == 0


def test_the_first_preview_comes_after_a_while_where_steps_are_slow(monkeypatch):
    monkeypatch.setattr(training, "FIRST_SECONDS", 1e-9)
    example = bright_discs()
    steps = train(model_for([example]), Wanted((example,), View(example.image)), QUICK)
    assert first_preview(steps).step == 1


def test_the_first_score_waits_for_the_first_preview_of_a_training_that_is_watched():
    example = bright_discs()
    wishes = Wishes(Wanted((example,), View(example.image)))
    steps = train(model_for([example]), wishes, TrainConfig(patch_size=32))
    seen = []
    while not (seen and seen[-1].score):
        seen.append(next(steps))
    assert any(update.preview is not None for update in seen)
    wishes.now = replace(wishes.now, stop=True)
    assert drain(steps).score is not None


def test_the_first_batches_of_a_training_that_is_watched_are_small(monkeypatch):
    sizes = []
    real = training.Learner.learn
    monkeypatch.setattr(
        training.Learner,
        "learn",
        lambda s, batch, rate: sizes.append(len(batch.images)) or real(s, batch, rate),
    )
    example = bright_discs()
    wishes = Wishes(Wanted((example,), View(example.image)))
    drain(
        train(model_for([example]), wishes, TrainConfig(patch_size=32)),
        lambda update: update.step < 40 or setattr(wishes, "now", replace(wishes.now, stop=True)),
    )
    assert sizes[:16] == [4] * 16 and sizes[16:32] == [8] * 16 and set(sizes[32:]) == {16}


def test_a_preview_says_which_view_it_belongs_to_so_that_a_stale_one_can_be_dropped():
    example = bright_discs()
    wishes = Wishes(Wanted((example,), View(example.image)))
    steps = train(model_for([example]), wishes, replace(QUICK, steps=20))
    stale = first_preview(steps)
    wishes.now = replace(wishes.now, view=View(example.image))
    fresh = next(update for update in steps if update.preview is not None)
    assert stale.view is not wishes.now.view and fresh.view is wishes.now.view


def test_the_preview_gets_better():
    example = bright_discs()
    previews = []

    def look():
        return Wanted((example,), View(example.image))  # a new view each time

    drain(
        train(model_for([example]), look, replace(LEARNING, steps=35)),
        lambda update: update.preview is not None and previews.append(update.preview),
    )
    right = [(preview.argmax(0) + 1 == example.annotation).mean() for preview in previews]
    assert len(previews) >= 30 and right[-1] > max(0.85, right[0])


def test_new_examples_are_used_at_the_very_next_step(monkeypatch):
    one, other = bright_discs(), bright_discs(seed=1)
    other = replace(other, image=other.image + 100)
    wishes, seen = Wishes(Wanted((one,))), []
    real = training.Learner.learn

    def learn(self, batch, rate):
        seen.append(float(batch.images.max()))
        if len(seen) == 2:
            wishes.now = Wanted((other,))
        return real(self, batch, rate)

    monkeypatch.setattr(training.Learner, "learn", learn)
    config = replace(QUICK, steps=4, augmentation=Augmentation())
    result = drain(train(model_for([one]), wishes, config))
    assert [largest > 50 for largest in seen] == [False, False, True, True]
    assert result.steps == 4


def test_new_examples_take_an_end_in_sight_back(monkeypatch):
    monkeypatch.setattr(training.Schedule, "record", lambda self, now, score: setattr(self, "end", 1e3))
    one, other = bright_discs(), bright_discs(seed=1)
    wishes = Wishes(Wanted((one,)))
    steps = train(model_for([one]), wishes, TrainConfig(patch_size=32, batch_size=2))
    while next(steps).progress is None:
        pass
    wishes.now = Wanted((other,))
    changed = next(steps)
    assert changed.message and changed.progress is None


def test_only_targets_of_new_examples_are_made(monkeypatch):
    made = []
    real = supply.make_target
    monkeypatch.setattr(supply, "make_target", lambda e, o: made.append(e) or real(e, o))
    one, other = bright_discs(), bright_discs(seed=1)
    wishes = [Wanted((one,))] * 3 + [Wanted((one, other))] * 9
    drain(train(model_for([one]), lambda: wishes.pop(0), replace(QUICK, steps=4)))
    assert [id(example) for example in made] == [id(one), id(other)]


def test_weights_that_were_best_before_new_strokes_came_are_not_what_comes_back(monkeypatch):
    """They were scored on another annotation."""
    values = iter([0.99, 0.99, *[0.5] * 99])
    real = training.score

    def fake(*case):
        found = yield from real(*case)
        return replace(found, dice=(value := next(values), value))

    monkeypatch.setattr(training, "score", fake)
    one, other = bright_discs(), bright_discs(seed=1)
    wishes = [Wanted((one,))] * 3 + [Wanted((one, other))] * 20
    result = drain(train(model_for([one]), lambda: wishes.pop(0), replace(QUICK, steps=8)))
    assert result.score.mean_dice == 0.5


def test_steps_are_taken_between_the_pieces_of_a_score():
    """A large held-out part is scored a window at a time, as its share of the time allows."""
    examples = tuple(bright_discs((64, 64), seed, f"image {seed}") for seed in range(40))
    asked, scored_at = [], []
    wishes = Wishes(Wanted(examples, View(examples[0].image)))
    steps = train(model_for(examples), wishes, TrainConfig(patch_size=32, batch_size=2))
    frame = steps.gi_frame
    real = training.predict_part

    def predict_part(predictor, image, part=None):
        asked.append(frame.f_locals["run"]._steps)
        return real(predictor, image, part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "predict_part", predict_part)
        while len(scored_at) < 2:
            update = next(steps)
            scored_at += [update.step] if update.score else []
    steps.close()
    in_score = [step for step in asked if step <= scored_at[0]][1:]  # the first is the preview
    assert len(in_score) >= 8 and len(set(in_score)) > 3


def test_scores_and_thresholds_and_previews_take_a_share_of_the_time(monkeypatch):
    """On a clock by which each piece of work takes as long as a step."""
    monkeypatch.setattr(stopwatch, "perf_counter", partial(next, count(0.0, 0.05)))
    example = discs_as_objects((96, 96))
    wishes = Wishes(Wanted((example,), View(example.image)))
    steps = train(objects_model(example), wishes, TrainConfig(patch_size=32, batch_size=2))
    while (update := next(steps)).seconds < 15:
        wishes.now = replace(wishes.now, snapshot=object() if update.step % 20 == 0 else None)
    steps.close()
    spent = update.spent
    assert spent["previews"] and spent["scores"] and spent["thresholds"] and spent["steps"]
    aside = sum(spent[name] for name in ("previews", "scores", "thresholds"))
    assert 0.1 <= aside / update.seconds <= 0.2


def test_a_score_that_was_begun_before_new_strokes_is_reported_but_not_compared(monkeypatch):
    one, other = bright_discs(), bright_discs(seed=1)
    wishes = Wishes(Wanted((one,)))
    steps = train(model_for([one]), wishes, TrainConfig(patch_size=32, batch_size=2))
    frame = steps.gi_frame

    def change(targets, predict, n_classes):
        wishes.now = Wanted((one, other))
        for _ in range(5):  # pieces between which the change is noticed
            yield
        return (yield from training_score(targets, predict, n_classes))

    training_score = training.score
    monkeypatch.setattr(training, "score", change)
    monkeypatch.setattr(training, "EVALUATION_SHARE", 1.0)
    while not next(steps).score:
        pass
    assert frame.f_locals["run"]._best is None
    steps.close()


def test_a_pause_takes_no_step_but_still_shows_new_views():
    example = bright_discs()
    wishes = Wishes(Wanted((example,), View(example.image)))
    steps = train(model_for([example]), wishes, replace(QUICK, steps=1000))
    first_preview(steps)
    wishes.now = replace(wishes.now, view=View(example.image[:, :20]), pause=True)
    first = first_preview(steps)
    wishes.now = replace(wishes.now, view=View(example.image[:, :30]))
    second = first_preview(steps)
    assert first.step == second.step and second.preview.shape == (2, 30, 64)
    wishes.now = replace(wishes.now, pause=False)
    while next(steps).step == second.step:
        pass
    wishes.now = replace(wishes.now, stop=True)
    assert drain(steps).steps > second.step


def test_stopping_returns_what_was_learnt_so_far():
    example = bright_discs()
    wishes = Wishes(Wanted((example,)))
    steps = train(model_for([example]), wishes, TrainConfig(patch_size=32))
    while next(steps).step < 2:
        pass
    wishes.now = replace(wishes.now, stop=True)
    result = drain(steps)
    assert result.steps >= 2 and result.score is not None and finite(result.model)


def test_stopping_before_the_first_step_returns_the_start():
    example = bright_discs()
    model = model_for([example])
    before = weights_of(model)
    result = drain(train(model, Wanted((example,), stop=True), QUICK))
    assert result.steps == 0 and result.score is None and same(before, weights_of(result.model))


@pytest.mark.parametrize("examples", [(), (replace(bright_discs(), annotation=np.zeros((64, 64), int)),)])
def test_nothing_annotated_is_refused(examples):
    model = model_for([bright_discs()])
    with pytest.raises(ValueError, match="no pixel is labelled: annotate"):
        drain(train(model, Wanted(examples), QUICK))


def test_a_value_that_is_no_class_of_the_model_is_refused():
    example = bright_discs()
    strange = replace(example, annotation=example.annotation + 5)
    with pytest.raises(ValueError, match="none of the classes"):
        drain(train(model_for([example]), Wanted((strange,)), QUICK))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", "huber"),
        ("minutes", 0),
        ("minutes", float("nan")),
        ("steps", -1),
        ("batch_size", 0),
        ("patch_size", 0),
        ("learning_rate", float("inf")),
        ("validation", 0.6),
        ("validation", float("nan")),
        ("w0", -1.0),
        ("w0", float("inf")),
        ("sigma", 0.0),
        ("seed", -1),
    ],
)
def test_a_config_out_of_range_is_refused_with_its_value(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}: choose"):
        TrainConfig(**{name: value})


def test_minutes_and_steps_are_not_both_given():
    with pytest.raises(ValueError, match="choose one of them"):
        TrainConfig(minutes=1, steps=1)


def test_a_pause_says_now_and_then_that_it_is_there(monkeypatch):
    clock = count()
    monkeypatch.setattr(training, "perf_counter", lambda: next(clock) / 10)
    monkeypatch.setattr(training, "sleep", lambda seconds: None)
    example = bright_discs()
    wishes = Wishes(Wanted((example,), pause=True))
    steps = train(model_for([example]), wishes, QUICK)
    waiting = [next(steps) for _ in range(3)]
    assert [update.step for update in waiting] == [0, 0, 0] and wishes.asked > 3
    wishes.now = replace(wishes.now, stop=True)
    assert drain(steps).steps == 0


def trained(model, example, config=QUICK, learner=None):
    return drain(train(model, Wanted((example,)), config, learner))


def test_going_on_keeps_optimiser_and_average():
    example = bright_discs()
    model = model_for([example])
    first = trained(model, example)
    moments = [state["exp_avg"].clone() for state in first.learner._optimiser.state.values()]
    again = trained(first.model, example, replace(QUICK, steps=2, loss="focal"), first.learner)
    assert again.learner is first.learner and again.learner.steps == 5
    assert again.steps == 2 and again.model.training["steps"] == 5
    for before, state in zip(moments, again.learner._optimiser.state.values(), strict=True):
        assert state["step"] == 5 and not torch.equal(before, state["exp_avg"])


def test_going_on_draws_other_patches_than_before(monkeypatch):
    drawn = []
    real = training.Learner.learn
    monkeypatch.setattr(
        training.Learner, "learn", lambda s, batch, rate: drawn.append(batch.images) or real(s, batch, rate)
    )
    example = bright_discs()
    model = model_for([example])
    trained(model, example, learner=trained(model, example).learner)
    assert len(drawn) == 6 and not torch.equal(drawn[0], drawn[3])


def test_going_on_and_stopping_at_once_loses_nothing():
    example = bright_discs()
    model = model_for([example])
    first = trained(model, example)
    before = weights_of(first.model)
    stopped = drain(train(model, Wanted((example,), stop=True), QUICK, first.learner))
    assert same(before, weights_of(stopped.model)) and len(first.learner._optimiser.state) > 0


def test_the_learner_of_another_network_is_refused():
    example = bright_discs()
    learner = trained(model_for([example]), example).learner
    with pytest.raises(ValueError, match="the learner belongs to another network"):
        trained(model_for([example]), example, learner=learner)


@pytest.mark.parametrize("pause", [False, True])
def test_a_snapshot_is_handed_over_once_for_each_token(pause, monkeypatch):
    monkeypatch.setattr(training, "UPDATE_SECONDS", 0)
    example = bright_discs()
    wishes = Wishes(Wanted((example,)))
    steps = train(model_for([example]), wishes, replace(QUICK, steps=1000))
    while next(steps).step < 2:
        pass
    wishes.now = replace(wishes.now, snapshot=object(), pause=pause)
    models = [update.model for _ in range(6) if (update := next(steps)).model]
    wishes.now = replace(wishes.now, snapshot=object())
    models += [update.model for _ in range(6) if (update := next(steps)).model]
    assert len(models) == 2
    wishes.now = replace(wishes.now, stop=True, pause=False)
    result = drain(steps)
    assert models[0].network is not models[1].network is not result.model.network
    assert same(weights_of(models[0]), weights_of(models[1])) == pause
    assert models[0].training["steps"] >= 2 and models[0].classes == CLASSES


def test_a_snapshot_can_be_trained_itself_and_training_leaves_it_alone():
    example = bright_discs()
    wanted = Wanted((example,), snapshot=object())
    updates = []
    drain(train(model_for([example]), wanted, QUICK), updates.append)
    (copy,) = [update.model for update in updates if update.model]
    before = weights_of(copy)
    assert same(before, weights_of(model_for([example])))  # asked for before the first step
    assert not same(before, weights_of(trained(copy, example).model))


def one_stroke_per_class():
    """A plane of shipped nuclei with a stroke of 9 x 60 pixels of background, and one of nuclei."""
    sample = nuclei_stack()
    image = (sample.image[2] / np.float32(60) - 1).astype(np.float32)
    annotation = np.zeros(image.shape, np.uint8)
    annotation[104:113, 129:189] = 1
    annotation[91:100, :60][sample.objects[2, 91:100, :60] > 0] = 2
    return Example(image[None], annotation, (1.0, 1.0), "nuclei", (2, 0, 0)), sample.objects[2] > 0


def test_a_stroke_of_each_class_gives_a_mask_that_makes_sense_after_a_few_steps():
    example, nuclei = one_stroke_per_class()
    wishes = Wishes(Wanted((example,), View(example.image)))
    steps = train(model_for([example], Architecture()), wishes)
    previews = (first_preview(steps) for _ in count())
    found = next(each for each in previews if each.step >= 15).preview.argmax(0) == 1
    assert 2 * (found & nuclei).sum() / (found.sum() + nuclei.sum()) > 0.7
    wishes.now = replace(wishes.now, stop=True)
    assert finite(drain(steps).model)


@pytest.mark.parametrize("size", [1, 3])
def test_dots_are_enough_to_begin_with(size):
    annotation = np.zeros((192, 192), np.uint8)
    annotation[5 : 5 + size, 5 : 5 + size], annotation[-1, -1] = 1, 2
    example = replace(bright_discs((192, 192)), annotation=annotation)
    assert finite(run([example], TrainConfig(steps=2))[0].model)
