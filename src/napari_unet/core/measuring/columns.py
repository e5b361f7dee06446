"""From sums and shapes to the columns of a table; what they mean to users is in docs/measuring.md."""

from collections.abc import Iterator, Sequence
from math import pi

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.names import composed
from napari_unet.core.measuring.scenes import Scene
from napari_unet.core.measuring.sums import Floats, Sums

Table = dict[str, NDArray[np.generic]]
"""Columns of equal length by their names, a row for each object."""


def make_table(scene: Scene, sums: Sums, shapes: Floats) -> Table:
    """Make the table of a scene; shapes (n, 3) as `Shape` names them."""
    places = {"label": sums.label, "timepoint": np.full(len(sums), scene.t)}
    if scene.z is not None:
        places["plane"] = np.full(len(sums), scene.z)
    return {
        **places,
        **_positions(scene, sums),
        **_sizes(scene, sums, shapes),
        **_intensities(scene, sums),
        "unit": np.full(len(sums), scene.objects.unit),
    }


def _positions(scene: Scene, sums: Sums) -> Table:
    """Where it is."""
    letters = scene.axes.lower()
    at_border = ((sums.start == 0) | (sums.stop == scene.shape)).any(axis=1)
    return {
        **{f"centroid_{a}_px": sums.centroid[:, i] for i, a in enumerate(letters)},
        **{f"centroid_{a}": sums.centroid[:, i] * scene.spacing[i] for i, a in enumerate(letters)},
        **{f"bbox_{a}_start": sums.start[:, i] for i, a in enumerate(letters)},
        **{f"bbox_{a}_stop": sums.stop[:, i] for i, a in enumerate(letters)},
        "touches_border": at_border,
    }


def _sizes(scene: Scene, sums: Sums, shapes: Floats) -> Table:
    """How large it is, and of which shape: as scikit-image defines it."""
    d = len(scene.axes)
    perimeter, n_convex, feret = shapes.T
    size = sums.n_pixels * np.prod(scene.spacing)
    covariance = sums.scatter / sums.n_pixels[:, None, None] * np.outer(scene.spacing, scene.spacing)
    variances = np.clip(np.linalg.eigvalsh(covariance), 0, None)  # ascending
    length = {2: 16, 3: 20}[d]  # of an ellipse or ellipsoid with these variances
    table: Table = {
        "n_pixels": sums.n_pixels,
        {2: "area", 3: "volume"}[d]: size,
        "equivalent_diameter": (2 * d * size / pi) ** (1 / d),
        "axis_major_length": np.sqrt(length * variances[:, -1]),
        "axis_minor_length": np.sqrt(length * variances[:, 0]),
        "feret_diameter_max": feret,
        "extent": sums.n_pixels / sums.shape.prod(axis=1),
        "solidity": sums.n_pixels / n_convex,
    }
    return table if d == 3 else table | _plane_shape(covariance, variances) | {"perimeter": perimeter}


def _plane_shape(covariance: Floats, variances: Floats) -> Table:
    """Eccentricity, and the angle between the rows' axis and the long axis."""
    small, large = np.where(variances[:, -1:] > 0, variances, 1).T  # a single pixel is round
    angle = 0.5 * np.arctan2(2 * covariance[:, 0, 1], covariance[:, 0, 0] - covariance[:, 1, 1])
    return {"eccentricity": np.sqrt(1 - small / large), "orientation": angle}


def _intensities(scene: Scene, sums: Sums) -> Table:
    table: Table = {}
    for channel, name in enumerate(_suffixes(scene.image.channels if scene.image else ())):
        mean = sums.mean[:, channel]
        table |= {
            f"intensity_mean{name}": mean,
            f"intensity_min{name}": sums.low[:, channel],
            f"intensity_max{name}": sums.high[:, channel],
            f"intensity_std{name}": np.sqrt(sums.squares[:, channel] / sums.n_pixels),
            f"intensity_sum{name}": mean * sums.n_pixels,
        }
    return table


def _suffixes(channels: Sequence[str]) -> Iterator[str]:
    """Yield what tells channels apart: numbers where names do not, nothing for a single one."""
    channels = list(map(composed, channels))
    for number, name in enumerate(channels):
        if name and channels.count(name) == 1:
            yield f"_{name}"
        elif len(channels) == 1:
            yield ""
        else:
            yield f"_{number}"
