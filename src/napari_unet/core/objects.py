"""From what a network predicts to labelled objects."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage


def connected_objects(foreground: ArrayLike) -> NDArray[np.unsignedinteger]:
    """Label the connected parts of the foreground.

    Parameters
    ----------
    foreground : array of bool, any number of dimensions

    Returns
    -------
    array of uint8, uint16 or uint32, whichever holds the number of objects
        0 = background, 1 to N = objects, in the order of their first pixels. Pixels belong together where
        they share a face.

    Examples
    --------
    >>> connected_objects([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]])
    array([[1, 1, 0, 2],
           [0, 0, 0, 2],
           [3, 0, 0, 0]], dtype=uint8)
    """
    parts, n_objects = ndimage.label(np.asarray(foreground, dtype=bool))
    objects: NDArray[np.unsignedinteger] = parts.astype(np.min_scalar_type(n_objects))
    return objects
