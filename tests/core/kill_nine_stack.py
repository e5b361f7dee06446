"""Segment a stack again and again, each time in a process that may kill itself at the n-th file it touches.

Torch is imported once: each line of JSON on stdin makes this process fork, and is answered by lines of JSON.
"""

import json
import os
import signal
import sys
import threading
import time
from functools import cache
from pathlib import Path

import torch

from napari_unet.core.io import open_image
from napari_unet.core.journal import Journal
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.modelfile import load_model
from napari_unet.core.stacks import segment_stack
from napari_unet.core.work import BlockWork

TOUCHES = {
    "open",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.truncate",
    "os.listdir",
    "os.scandir",
}


def say(**line):
    os.write(1, (json.dumps(line) + "\n").encode())  # at once, from any thread


class Fate:
    """Kills this process when it touches the output for the n-th time, and counts until then."""

    def __init__(self, folder, kill_at):
        self.folder, self.kill_at, self.n_touches = folder, kill_at, 0
        self.lock = threading.Lock()
        sys.addaudithook(self.hear)

    def hear(self, event, args):
        is_path = event in TOUCHES and isinstance(args[0], str | os.PathLike)
        if is_path and os.fspath(args[0]).startswith(self.folder):
            self.touch()

    def touch(self):
        with self.lock:
            self.n_touches += 1
            if self.n_touches == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def watch(fate):
    """Tell what is predicted; a line of the journal may be cut in the middle."""
    predict, note = BlockWork.predict, Journal.note

    def told(self, ready):
        say(predicted=[each.task for each in ready])
        return predict(self, ready)

    def torn(self, phase, task, result):
        if fate.n_touches + 1 == fate.kill_at:
            self._file.write(b'{"phase": "ti')
            self._file.flush()
        fate.touch()
        note(self, phase, task, result)

    BlockWork.predict, Journal.note = told, torn


model_of = cache(load_model)


def segment(order):
    output = Path(order["output"])
    fate = Fate(str(output.parent), order.get("kill_at"))
    watch(fate)
    config = SegmentConfig(**order["config"])
    options = {name: order.get(name, False) for name in ("resume", "overwrite")}
    try:
        image = open_image(order["image"])
        for _ in segment_stack(model_of(order["model"]), image, output, config, **options):
            pass
    except (OSError, ValueError) as error:
        say(error=str(error))
    say(n_touches=fate.n_touches)


def main():
    torch.set_num_threads(1)
    for text in sys.stdin:
        order = json.loads(text)
        model_of(order["model"])  # what that imports takes longer than a segmentation
        child = os.fork()
        if not child:
            status = 1
            try:
                segment(order)
                status = 0
            finally:
                os._exit(status)
        if "seconds" in order:
            time.sleep(order["seconds"])
            os.kill(child, signal.SIGKILL)
        say(status=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
