"""Read and write images: axes, spacing, unit and channels in one small type, pixels a region at a time."""

from napari_unet.core.io.files import find_images, pair_files
from napari_unet.core.io.image import Image
from napari_unet.core.io.names import image_stem
from napari_unet.core.io.opening import open_image, open_labels, open_stack, read_labels
from napari_unet.core.io.output import Output, create_output
from napari_unet.core.io.source import Source

__all__ = [
    "Image",
    "Output",
    "Source",
    "create_output",
    "find_images",
    "image_stem",
    "open_image",
    "open_labels",
    "open_stack",
    "pair_files",
    "read_labels",
]
