"""The headless core: train a U-Net on a few annotated slices, segment images of any size."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_unet.core.annotations import Meaning, open_annotation, save_annotation
    from napari_unet.core.arrays import segment
    from napari_unet.core.draining import drain
    from napari_unet.core.examples import read_examples
    from napari_unet.core.io import open_image, open_labels
    from napari_unet.core.label_values import LabelOptions
    from napari_unet.core.layouts import SegmentConfig
    from napari_unet.core.matching import score_objects
    from napari_unet.core.measuring import measure_objects, write_table
    from napari_unet.core.modelfile import Model, load_model, save_model
    from napari_unet.core.objects import ObjectRules
    from napari_unet.core.stacks import segment_stack
    from napari_unet.core.starting import Architecture, fine_tune, new_model
    from napari_unet.core.supply import TrainConfig
    from napari_unet.core.training import Wanted, train
    from napari_unet.core.weights import boundary_weights

__all__ = [
    "Architecture",
    "LabelOptions",
    "Meaning",
    "Model",
    "ObjectRules",
    "SegmentConfig",
    "TrainConfig",
    "Wanted",
    "boundary_weights",
    "drain",
    "fine_tune",
    "load_model",
    "measure_objects",
    "new_model",
    "open_annotation",
    "open_image",
    "open_labels",
    "read_examples",
    "save_annotation",
    "save_model",
    "score_objects",
    "segment",
    "segment_stack",
    "train",
    "write_table",
]

_ROOMS = {
    "annotations": ("Meaning", "open_annotation", "save_annotation"),
    "draining": ("drain",),
    "examples": ("read_examples",),
    "io": ("open_image", "open_labels"),
    "label_values": ("LabelOptions",),
    "matching": ("score_objects",),
    "measuring": ("measure_objects", "write_table"),
    "modelfile": ("Model", "load_model", "save_model"),
    "objects": ("ObjectRules",),
    "arrays": ("segment",),
    "layouts": ("SegmentConfig",),
    "stacks": ("segment_stack",),
    "starting": ("Architecture", "fine_tune", "new_model"),
    "supply": ("TrainConfig",),
    "training": ("Wanted", "train"),
    "weights": ("boundary_weights",),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: most commands need no torch."""
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
