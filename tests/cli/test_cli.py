"""The command line as a whole: quick help, exit codes, errors in one sentence, bugs with a traceback."""

import os
import subprocess
import sys
from time import perf_counter

import pytest
import typer

import napari_unet
from napari_unet import cli


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    return ended.value.code or 0


def raising(monkeypatch, error):
    """A command line whose only command fails."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail():
        raise error

    monkeypatch.setattr(cli, "app", app)


def test_help_names_every_command_and_needs_no_torch():
    code = (
        "import sys; from napari_unet.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({'torch', 'numpy', 'scipy', 'napari'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
    for command in ("train", "segment", "weights", "evaluate", "info", "demo"):
        assert f" {command} " in out


def test_help_answers_in_under_0_4_seconds():
    command = [sys.executable, "-c", "from napari_unet.cli import main; main(['--help'])"]
    seconds = []
    for _ in range(5):
        start = perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(perf_counter() - start)
    assert min(seconds) < 0.4


def test_the_version_is_shown(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == napari_unet.__version__


@pytest.mark.parametrize("arguments", [["paint"], ["segment"], ["info", "a", "b"], ["--fast"]])
def test_wrong_usage_exits_with_2(arguments):
    assert run(*arguments) == 2


@pytest.mark.parametrize("error", [ValueError, OSError, MemoryError])
def test_bad_input_is_one_sentence_and_exit_code_2(error, monkeypatch, capsys):
    raising(monkeypatch, error("width is 0: choose 1"))
    assert run() == 2
    said = capsys.readouterr()
    assert (said.err, said.out) == ("Error: width is 0: choose 1\n", "")


def test_a_bug_keeps_its_traceback(monkeypatch):
    raising(monkeypatch, KeyError("bug"))
    with pytest.raises(KeyError):
        cli.main([])


def test_ctrl_c_exits_with_130(monkeypatch):
    raising(monkeypatch, KeyboardInterrupt())
    assert run() == 130


@pytest.mark.skipif(os.name != "posix", reason="needs a shell's pipe")
def test_a_closed_pipe_is_quiet():
    code = "from napari_unet.cli import main; main(['--help'])"
    done = subprocess.run(
        f'"{sys.executable}" -c "{code}" | true', shell=True, capture_output=True, text=True, check=True
    )
    assert not done.stderr
