"""What a training to objects reached, kept as JSON and printed as a table; the standard library suffices."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any


@dataclass(frozen=True)
class Row:
    """One training and its test."""

    name: str
    method: str
    pairs: int  # images with labels that were trained on
    minutes: float  # asked for
    ndim: int
    seed: int
    part: int  # which half of a volume; else 0
    steps: int
    seconds: float  # of training, from its first step
    wall: float  # seconds from the pixels to a trained model: preparation and fitted thresholds included
    scores: dict[str, Any]  # what ObjectScores.to_json gives
    ap50: tuple[float, ...]  # of each test image

    @property
    def figures(self) -> tuple[float, ...]:
        """AP at 0.5, mean AP from 0.5 to 0.95, F1 at 0.5, mean matched IoU, SEG, count error."""
        ap = self.scores["ap"]
        others = self.scores["mean_matched_iou"], self.scores["seg"], self.scores["count_error"]
        return ap["0.5"], fmean(ap.values()), self.scores["f1"]["0.5"], *(other or 0.0 for other in others)


HEADER = (
    "| row | method | pairs | minutes | | seeds | AP 0.5 | min–max | mean AP | F1 | matched IoU | SEG "
    "| count error | steps | seconds | wall |\n" + "|---" * 16 + "|"
)


def add_row(row: Row, path: Path | None) -> None:
    """Print a row and keep it with those that are in the file already."""
    print(
        f"{row.name}, {row.method}, seed {row.seed}, part {row.part}: AP 0.5 {row.figures[0]:.3f}, "
        f"{row.scores['n_predicted']} objects for {row.scores['n_true']}, {row.steps} steps, "
        f"{row.seconds:.1f} s of {row.wall:.1f} s",
        flush=True,
    )
    if path:
        rows = [*(read_rows(path) if path.exists() else ()), row]
        path.write_text(json.dumps([asdict(each) for each in rows], indent=1))


def read_rows(path: Path) -> list[Row]:
    """Read what `add_row` has kept."""
    return [Row(**{**cells, "ap50": tuple(cells["ap50"])}) for cells in json.loads(path.read_text())]


def table(rows: Sequence[Row]) -> str:
    """A Markdown table with a line for each group of rows that differ in seed and part only."""

    def group(row: Row) -> tuple[str, str, float]:
        return row.name, row.method, row.minutes

    order = list(dict.fromkeys(map(group, rows)))
    ordered = sorted(rows, key=lambda row: (order.index(group(row)), row.seed, row.part))
    return "\n".join([HEADER, *(_line(list(same)) for _, same in groupby(ordered, group))])


def _line(same: Sequence[Row]) -> str:
    first = same[0]
    seeds = [list(rows) for _, rows in groupby(same, lambda row: row.seed)]  # each has one row, or two halves
    ap50 = [fmean(row.figures[0] for row in rows) for rows in seeds]
    means = [fmean(values) for values in zip(*(row.figures for row in same), strict=True)]
    figures = " | ".join(f"{value:.3f}" for value in means[1:])
    return (
        f"| {first.name} | {first.method} | {_range(row.pairs for row in same)} | {first.minutes:g} "
        f"| {first.ndim}D | {len(seeds)} | {fmean(ap50):.3f} | {min(ap50):.3f}–{max(ap50):.3f} | {figures} "
        f"| {fmean(row.steps for row in same):.0f} | {fmean(row.seconds for row in same):.0f} "
        f"| {fmean(row.wall for row in same):.0f} |"
    )


def _range(numbers: Iterable[int]) -> str:
    return "–".join(map(str, sorted(set(numbers))))
