"""Read and write images: axes, spacing, unit and channels in one small type, pixels a region at a time."""

from napari_unet.core.io.files import find_images, pair_files
from napari_unet.core.io.image import Image
from napari_unet.core.io.names import image_stem
from napari_unet.core.io.opening import (
    count_missing_chunks,
    describe_format,
    list_positions,
    open_image,
    open_labels,
    open_stack,
    read_labels,
)
from napari_unet.core.io.output import Output, create_output
from napari_unet.core.io.source import Source

__all__ = [
    "Image",
    "Output",
    "Source",
    "count_missing_chunks",
    "create_output",
    "describe_format",
    "find_images",
    "image_stem",
    "list_positions",
    "open_image",
    "open_labels",
    "open_stack",
    "pair_files",
    "read_labels",
]
