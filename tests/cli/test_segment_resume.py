"""`napari-unet segment` that is stopped or killed, and goes on."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

COMMAND = [sys.executable, "-c", "from napari_unet.cli import main; main()", "segment"]


@pytest.fixture
def stack(tmp_path):
    """Takes some seconds in tiles of 32 x 32."""
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 99, (12, 256, 256), np.uint16))
    return path


def end_with(ending, out, *arguments, to=os.kill):
    """Run the command, end it by a signal once ten more tiles are done; return exit code and words."""
    journal = out.with_name(f"{out.name}.unfinished") / "journal.jsonl"
    before = count_lines(journal)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*COMMAND, "--tile", "32", *map(str, arguments), "--out", str(out)]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while count_lines(journal) < before + 10 and process.poll() is None:
            time.sleep(0.005)
        to(process.pid, ending)
        said = process.stderr.read()  # to the end of the last worker
        return process.wait(), said


def count_lines(journal):
    return len(journal.read_bytes().splitlines()) if journal.exists() else 0


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_run_that_was_stopped_and_killed_goes_on_and_its_result_is_the_same(
    model, segment, stack, tmp_path, capsys
):
    out, whole = tmp_path / "labels.tif", tmp_path / "whole.tif"
    code, said = end_with(signal.SIGINT, out, model, stack)
    assert code == 130 and not out.exists()
    assert said.startswith("Stopped with ") and said.count("\n") == 1
    assert f" of 768 tiles of {out} done: the same command with --resume goes on" in said
    code, said = end_with(signal.SIGKILL, out, model, stack, "--resume")
    assert code == -signal.SIGKILL and not said and not out.exists()
    assert segment(stack, "--out", out, "--tile", 32) == 2  # neither --resume nor --overwrite
    assert "--resume goes on with it, --overwrite begins anew" in capsys.readouterr().err
    assert segment(stack, "--out", out, "--tile", 32, "--resume") == 0
    assert "went on after " in capsys.readouterr().out
    assert segment(stack, "--out", whole, "--tile", 32) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if "unfinished" in path.name) == []


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_with_workers_is_one_sentence(model, stack, tmp_path):
    """A terminal sends it to the workers as well."""
    pytest.importorskip("distributed")
    out = tmp_path / "labels.ome.zarr"
    small = "--tile", "16"  # there is much left to do when workers note their first tiles, many at once
    code, said = end_with(signal.SIGINT, out, model, stack, "--workers", "2", *small, to=os.killpg)
    assert code == 130 and not out.exists()
    assert said.startswith("Stopped with ") and said.count("\n") == 1, said


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C after a number of tiles, in this process."""

    def after(n_tiles):
        def drain(work, show):
            for _ in range(n_tiles):
                show(next(work))
            raise KeyboardInterrupt

        monkeypatch.setattr("napari_unet.core.draining.drain", drain)

    return after


def test_ctrl_c_says_how_far_it_was_and_keeps_it(segment, stack, tmp_path, interrupted, capsys):
    interrupted(3)
    assert segment(stack, "--out", tmp_path / "out.tif", "--tile", 64) == 130
    said = capsys.readouterr().err
    assert "--resume goes on" in said and said.count("\n") == 1
    assert not (tmp_path / "out.tif").exists() and (tmp_path / "out.tif.unfinished").is_dir()


def test_ctrl_c_before_the_first_tile_leaves_nothing(segment, stack, tmp_path, interrupted, capsys):
    interrupted(0)
    assert segment(stack, "--out", tmp_path / "out.tif") == 130
    assert "nothing is kept" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_ctrl_c_ends_a_batch(segment, folder, tmp_path, interrupted, capsys):
    interrupted(0)
    assert segment(folder, "--out", tmp_path / "results") == 130
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "0.tif" in said.err and "│" not in said.out


def test_what_is_complete_is_not_computed_again(segment, folder, tmp_path, capsys):
    out = tmp_path / "labels.tif"
    assert segment(folder / "0.tif", "--out", out, "--resume") == 0  # nothing to go on with: from the start
    before = out.stat().st_mtime_ns
    capsys.readouterr()
    assert segment(folder / "0.tif", "--out", out, "--resume") == 0
    assert capsys.readouterr().out == f"{out}: was complete already\n"
    assert out.stat().st_mtime_ns == before


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_a_complete_result_that_was_made_otherwise_is_not_taken_for_this_one(
    suffix, segment, folder, tmp_path, capsys
):
    out = tmp_path / f"labels{suffix}"
    assert segment(folder / "0.tif", "--out", out, "--tile", 16) == 0
    assert segment(folder / "0.tif", "--out", out, "--tile", 16, "--resume") == 0
    capsys.readouterr()
    assert segment(folder / "0.tif", "--out", out, "--kind", "probabilities", "--resume") == 2
    said = capsys.readouterr().err
    assert "kind (labels then, probabilities now)" in said and "--overwrite" in said


def test_what_a_killed_run_has_left_beside_a_complete_result_is_removed(segment, folder, tmp_path, capsys):
    out, left = tmp_path / "labels.tif", tmp_path / "labels.tif.unfinished"
    assert segment(folder / "0.tif", "--out", out) == 0
    left.mkdir()
    (left / "lock").touch()
    capsys.readouterr()
    assert segment(folder / "0.tif", "--out", out, "--resume") == 0
    assert capsys.readouterr().out == f"{out}: was complete already\n"
    assert not left.exists()


def test_a_batch_that_replaces_goes_on_replacing(segment, folder, tmp_path, capsys):
    results = tmp_path / "results"
    assert segment(folder, "--out", results) == 0
    before = [path.stat().st_mtime_ns for path in sorted(results.iterdir())]
    assert segment(folder, "--out", results, "--resume", "--overwrite") == 0
    assert "was complete already" not in capsys.readouterr().out
    after = [path.stat().st_mtime_ns for path in sorted(results.iterdir())]
    assert all(new > old for new, old in zip(after, before, strict=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--halo", "0"], "halo (auto then, 0 now)"),
        (["--kind", "probabilities"], "kind (labels then, probabilities now)"),
        (["--spacing", "2,1,1"], "spacing"),
    ],
)
def test_another_option_is_refused_with_the_reason(
    options, said, segment, stack, tmp_path, interrupted, monkeypatch, capsys
):
    interrupted(2)
    assert segment(stack, "--out", tmp_path / "out.tif", "--tile", 64) == 130
    monkeypatch.undo()
    capsys.readouterr()
    assert segment(stack, "--out", tmp_path / "out.tif", "--tile", 64, "--resume", *options) == 2
    error = capsys.readouterr().err
    assert said in error and "--overwrite" in error and error.count("\n") == 1
