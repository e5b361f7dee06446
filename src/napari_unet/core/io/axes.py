"""Axes are a string such as "TCZYX"; a unit of length is a symbol such as "µm"."""

from collections.abc import Mapping, Sequence
from math import inf

AXES = "TCZYX"
SPATIAL = "ZYX"
UNKNOWN_UNIT = "pixel"
_PLAIN_AXES = {2: "YX", 3: "ZYX", 4: "CZYX", 5: "TCZYX"}

_PREFIXES = {
    "Q": ("quetta", 30), "R": ("ronna", 27), "Y": ("yotta", 24), "Z": ("zetta", 21), "E": ("exa", 18),
    "P": ("peta", 15), "T": ("tera", 12), "G": ("giga", 9), "M": ("mega", 6), "k": ("kilo", 3),
    "h": ("hecto", 2), "da": ("deca", 1), "": ("", 0), "d": ("deci", -1), "c": ("centi", -2),
    "m": ("milli", -3), "µ": ("micro", -6), "n": ("nano", -9), "p": ("pico", -12), "f": ("femto", -15),
    "a": ("atto", -18), "z": ("zepto", -21), "y": ("yocto", -24),
}  # fmt: skip
# lengths of the OME schema, by symbol: name in OME-NGFF, metres
_LENGTHS = {f"{prefix}m": (f"{name}meter", 10.0**power) for prefix, (name, power) in _PREFIXES.items()} | {
    "Å": ("angstrom", 1e-10),
    "thou": ("thou", 2.54e-5),
    "li": ("line", 2.54e-2 / 12),
    "in": ("inch", 2.54e-2),
    "ft": ("foot", 0.3048),
    "yd": ("yard", 0.9144),
    "mi": ("mile", 1609.344),
    "pt": ("point", 2.54e-2 / 72),
    "ua": ("astronomical unit", 149_597_870_700.0),
    "ly": ("light year", 9.4607304725808e15),
    "pc": ("parsec", 3.0856775814913673e16),
}
USUAL_UNITS = ("pm", "Å", "nm", "µm", "mm", "cm", "m")
"""Units of images and tables; other lengths are converted to µm."""
_SPELLINGS = {name: symbol for symbol, (name, _) in _LENGTHS.items()} | {
    "um": "µm",
    "μm": "µm",  # Greek mu; ours is the micro sign
    "\\u00b5m": "µm",  # as ImageJ escapes it
    "micron": "µm",
    "ångström": "Å",
    "mil": "thou",
    "inche": "in",
    "feet": "ft",
    '"': "in",
    "": UNKNOWN_UNIT,
    "px": UNKNOWN_UNIT,
    "voxel": UNKNOWN_UNIT,
}


def check_axes(axes: str, shape: tuple[int, ...], name: str) -> str:
    """Return `axes`, or raise ValueError where they are no name for an array of `shape`."""
    if len(axes) != len(shape):
        raise ValueError(
            f"{name}: axes {axes!r} name {len(axes)} dimensions but the shape is {shape}; "
            f"give one letter of {AXES} for each"
        )
    if not set("YX") <= set(axes) <= set(AXES) or len(set(axes)) != len(axes):
        raise ValueError(
            f"{name}: axes {axes!r} must be different letters of {AXES} with Y and X among them; "
            f"name the dimensions of {shape} with --axes"
        )
    return axes


def plain_axes(shape: Sequence[int]) -> str:
    """Return the axes of an array that does not say what it is, "" where there is no telling.

    A last axis of size 1 is taken for that of a single channel: no image is one pixel wide.

    >>> plain_axes((5, 64, 64)), plain_axes((64, 64, 1)), plain_axes((2,))
    ('ZYX', 'YXC', '')
    """
    if len(shape) > 2 and shape[-1] == 1 < min(shape[-3:-1]):
        return {2: "YXC", 3: "ZYXC", 4: "TZYXC"}.get(len(shape) - 1, "")
    return _PLAIN_AXES.get(len(shape), "")


def spatial_of(axes: str) -> str:
    """Return the spatial axes among `axes`, always in ZYX order.

    >>> spatial_of("YXC"), spatial_of("XYZ")
    ('YX', 'ZYX')
    """
    return "".join(letter for letter in SPATIAL if letter in axes)


def unit_symbol(text: str) -> str:
    """Return the symbol of a length unit however a file spells it.

    >>> unit_symbol("micron"), unit_symbol("Nanometres"), unit_symbol("furlong")
    ('µm', 'nm', 'furlong')
    """
    spelled = text.strip()
    if spelled in _LENGTHS:
        return spelled
    singular = spelled.lower().removesuffix("s").replace("metre", "meter")
    if singular in _SPELLINGS:
        return _SPELLINGS[singular]
    if spelled.isupper() and singular in USUAL_UNITS:  # MM is no megametre
        return singular
    return UNKNOWN_UNIT if singular == UNKNOWN_UNIT else spelled


def ngff_unit(unit: str) -> str | None:
    """Return OME-NGFF's name of a unit symbol, None where it has none."""
    return _LENGTHS[unit][0] if unit in USUAL_UNITS else None


def is_length(unit: str) -> bool:
    """Whether a unit symbol is a length.

    >>> is_length("dm"), is_length("reference frame")
    (True, False)
    """
    return unit in _LENGTHS


def common_unit(sizes: Mapping[str, tuple[float, str]]) -> tuple[dict[str, float], str]:
    """Express voxel sizes of mixed units, such as z in nm and x in µm, in the unit of the last length.

    Sizes in what is no length are unknown beside others that are.

    >>> common_unit({"Z": (50.0, "nm"), "X": (0.004, "µm")})
    ({'Z': 0.05, 'X': 0.004}, 'µm')
    >>> common_unit({"Z": (1e-5, "dm"), "Y": (7, "reference frame"), "X": (1 / 25400, "in")})
    ({'Z': 1.0, 'X': 1.0}, 'µm')
    """
    lengths = {axis: found for axis, found in sizes.items() if is_length(found[1])}
    if not lengths:
        unit = next((unit for _, unit in reversed(list(sizes.values()))), UNKNOWN_UNIT)
        return {axis: size for axis, (size, _) in sizes.items()}, unit
    last = list(lengths.values())[-1][1]
    target = last if last in USUAL_UNITS else "µm"
    return {axis: _convert(size, unit, target) for axis, (size, unit) in lengths.items()}, target


def known_spacing(
    sizes: Mapping[str, float], unit: str, axes: Mapping[str, int]
) -> tuple[dict[str, float], str, str]:
    """Return a size for each spatial axis, their unit, and a sentence where the file says too little.

    Sizes that are unknown are not made up: without one of them all are in pixels. `axes` gives the number of
    pixels along each spatial axis.

    >>> known_spacing({"Y": 0.1, "X": 0.1}, "µm", {"Y": 64, "X": 64})
    ({'Y': 0.1, 'X': 0.1}, 'µm', '')
    >>> known_spacing({"X": 0.1}, "µm", {"Y": 64, "X": 64})[1:]
    ('pixel', 'the voxel size along Y is not given: sizes are in pixels; give all with --spacing')
    >>> known_spacing({"Y": 7.0, "X": 7.0}, "reference frame", {"Y": 64, "X": 64})
    ({'Y': 1.0, 'X': 1.0}, 'pixel', "the unit 'reference frame' is no length: sizes are in pixels")
    >>> known_spacing({"Y": 1e308, "X": 1e308}, "km", {"Y": 64, "X": 64})[2]
    'the voxel size is beyond all numbers: sizes are in pixels; give it with --spacing'
    """
    ones = dict.fromkeys(axes, 1.0)
    if not sizes:
        return ones, UNKNOWN_UNIT, ""
    if _are_numbers(sizes):
        spacing, unit, why = _spacing_of(sizes, unit, axes)
        if _are_numbers(spacing):
            return spacing, unit, why
    why = "the voxel size is beyond all numbers: sizes are in pixels; give it with --spacing"
    return ones, UNKNOWN_UNIT, why


def _are_numbers(sizes: Mapping[str, float]) -> bool:
    """Tell whether sizes are so after they were multiplied and converted, however large or small."""
    return all(0 < size < inf for size in sizes.values())


def _spacing_of(
    sizes: Mapping[str, float], unit: str, axes: Mapping[str, int]
) -> tuple[dict[str, float], str, str]:
    ones = dict.fromkeys(axes, 1.0)
    missing = [axis for axis, n in axes.items() if axis not in sizes and n > 1]
    if missing and is_length(unit):
        along = " and ".join(missing)
        why = f"the voxel size along {along} is not given: sizes are in pixels; give all with --spacing"
        return ones, UNKNOWN_UNIT, why
    if is_length(unit):
        sizes, unit = common_unit({axis: (size, unit) for axis, size in sizes.items()})
        finest = min(sizes.values())
        return {axis: sizes.get(axis, finest) for axis in axes}, unit, ""
    scale = (
        1.0 if unit == UNKNOWN_UNIT else sizes.get("X", 1.0)
    )  # how flat voxels are can be known all the same
    why = "" if unit == UNKNOWN_UNIT else f"the unit {unit!r} is no length: sizes are in pixels"
    return {axis: sizes.get(axis, scale) / scale for axis in axes}, UNKNOWN_UNIT, why


def _convert(size: float, unit: str, target: str) -> float:
    if unit == target:
        return size
    return float(f"{size * _LENGTHS[unit][1] / _LENGTHS[target][1]:.12g}")
