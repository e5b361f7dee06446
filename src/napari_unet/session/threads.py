"""How many processor cores a job may use while a viewer is open."""

import os


def leave_a_core(threads: int | None = None) -> None:
    """Let torch use all cores but one, which draws the window, or as many as the user wants.

    To be called in the thread that computes: OpenMP counts for each thread by itself.
    """
    import torch

    torch.set_num_threads(threads or max(1, _n_cores() - 1))


def _n_cores() -> int:
    """Count the cores that this process may use: on a shared machine fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
