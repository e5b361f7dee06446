import gc
import os

from hypothesis import settings

# The tests' networks are tiny: more threads only wait for each other, most of all where a machine is shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Whoever runs the tests keeps their own napari settings, and these do not change what is tested.
os.environ["NAPARI_CONFIG"] = ""

# No deadline: an example may meet a cold torch or a busy machine. The same examples on every run.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


def pytest_collection_finish() -> None:
    """Keep what is imported by now out of every later search for garbage: windows are closed by the dozen."""
    gc.collect()
    gc.freeze()
