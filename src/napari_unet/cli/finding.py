"""How a model finds objects, in words."""

from collections.abc import Mapping
from typing import Any

FITTED = {
    "held-out": "fitted to those held out",
    "all": "fitted to all that are annotated",
    "none": "not fitted, as none could be judged",
}
"""What a model says its rules are fitted to."""


def describe_rules(rules: Mapping[str, Any]) -> str:
    """Put the fields of `ObjectRules` into words."""
    pixels = "voxels" if len(rules["reach"]) == 3 else "pixels"
    words = (
        f"foreground from {rules['foreground']:g}, core from {rules['core']:g}, "
        f"at least {rules['min_size']:,} {pixels}"
    )
    extent = " x ".join(map(str, rules["reach"]))
    return f"{words}, up to {extent}" if extent else words
