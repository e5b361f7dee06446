"""Axes are a string such as "TCZYX"; a unit of length is a symbol such as "µm"."""

from collections.abc import Mapping

AXES = "TCZYX"
SPATIAL = "ZYX"
UNKNOWN_UNIT = "pixel"
PLAIN_AXES = {2: "YX", 3: "ZYX", 4: "CZYX", 5: "TCZYX"}  # of an array that does not say what it is

# symbol -> (name in OME-NGFF, metres)
_LENGTHS = {
    "pm": ("picometer", 1e-12),
    "Å": ("angstrom", 1e-10),
    "nm": ("nanometer", 1e-9),
    "µm": ("micrometer", 1e-6),
    "mm": ("millimeter", 1e-3),
    "cm": ("centimeter", 1e-2),
    "m": ("meter", 1.0),
}
_SPELLINGS = {name: symbol for symbol, (name, _) in _LENGTHS.items()} | {
    "um": "µm",
    "μm": "µm",  # Greek mu; ours is the micro sign
    "\\u00b5m": "µm",  # as ImageJ escapes it
    "micron": "µm",
    "": UNKNOWN_UNIT,
    "px": UNKNOWN_UNIT,
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
    return _SPELLINGS.get(singular, UNKNOWN_UNIT if singular == UNKNOWN_UNIT else spelled)


def ngff_unit(unit: str) -> str | None:
    """Return OME-NGFF's name of a unit symbol, None where it has none."""
    return _LENGTHS[unit][0] if unit in _LENGTHS else None


def common_unit(sizes: Mapping[str, tuple[float, str]]) -> tuple[dict[str, float], str]:
    """Express voxel sizes of mixed units, such as z in nm and x in µm, in the unit of the last.

    >>> common_unit({"Z": (50.0, "nm"), "X": (0.004, "µm")})
    ({'Z': 0.05, 'X': 0.004}, 'µm')
    """
    if not sizes:
        return {}, UNKNOWN_UNIT
    target = list(sizes.values())[-1][1]

    return {axis: _convert(size, unit, target) for axis, (size, unit) in sizes.items()}, target


def _convert(size: float, unit: str, target: str) -> float:
    if unit == target or not {unit, target} <= set(_LENGTHS):
        return size
    return float(f"{size * _LENGTHS[unit][1] / _LENGTHS[target][1]:.12g}")
