"""Scores as tables or JSON."""

import json
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from napari_unet.core.matching import ObjectScores
    from napari_unet.core.metrics import Scores


def print_json(
    scores: "Scores", objects: "ObjectScores | None", left_out: Sequence[str], *, membranes: bool
) -> None:
    """Print all scores as one line of JSON, with the names of files that are left out, if there are any."""
    found = scores.to_json(membranes=membranes) | (objects.to_json() if objects else {})
    typer.echo(json.dumps(found | ({"left_out": list(left_out)} if left_out else {})))


def print_table(scores: "Scores", *, membranes: bool) -> None:
    """Print the scores of each class, and their means."""
    from rich.console import Console
    from rich.table import Table

    table = Table("value", "Dice", "IoU")
    for value, score in scores.classes.items():
        table.add_row(str(value), f"{score.dice:.4f}", f"{score.iou:.4f}")
    table.add_section()
    table.add_row("mean", _shown(scores.mean_dice), _shown(scores.mean_iou))
    console = Console()
    console.print(table)
    console.print(f"pixel accuracy {_shown(scores.pixel_accuracy)}")
    if membranes:
        console.print(f"V-Rand {_shown(scores.v_rand)}, VI in bits {_shown(scores.vi)}")


def print_object_table(scores: "ObjectScores") -> None:
    """Print the scores of objects at each IoU, and their counts."""
    from rich.console import Console
    from rich.table import Table

    table = Table("objects with IoU from", "AP", "F1")
    for iou, ap in scores.ap.items():
        table.add_row(f"{iou:.2f}", f"{ap:.4f}", f"{scores.f1[iou]:.4f}")
    table.add_section()
    table.add_row("mean", f"{fmean(scores.ap.values()):.4f}", f"{fmean(scores.f1.values()):.4f}")
    console = Console()
    console.print(table)
    console.print(f"{scores.n_true} true objects, {scores.n_predicted} predicted")
    console.print(f"mean IoU of the matched {_shown(scores.mean_matched_iou)}, SEG {_shown(scores.seg)}")
    console.print(f"count error {_shown(scores.count_error)} of the true count")


def _shown(score: float | None) -> str:
    return "none" if score is None else f"{score:.4f}"
