"""Paint a few strokes, get the whole stack segmented: a U-Net that trains while you paint in napari."""

__version__ = "0.1.0"
