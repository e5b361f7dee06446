"""What a journal remembers, what a crash may do to it, and what it does not believe."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.journal import Journal, is_begun

HEADER = {"format": 1, "plan": {"shape": [5, 5]}, "name": "Zellen ä"}


@pytest.fixture
def path(tmp_path):
    with Journal.create(tmp_path / "journal.jsonl", HEADER) as journal:
        journal.note("tiles", 3, {"n_objects": 7})
        journal.note("tiles", 0, {"n_objects": 2})
        journal.note("join", 0, {})
    return tmp_path / "journal.jsonl"


def test_what_was_noted_is_known_to_another_process(path):
    journal = Journal(path)
    assert journal.header == HEADER
    assert [journal.is_done("tiles", task) for task in range(5)] == [True, False, False, True, False]
    assert (journal.n_done("tiles"), journal.n_done("join"), journal.n_done("level 1")) == (2, 1, 0)
    assert list(journal.results("tiles")) == [(3, {"n_objects": 7}), (0, {"n_objects": 2})]
    assert not journal.is_done("level 1", 0)


def test_a_journal_is_never_begun_over_another(path):
    with pytest.raises(FileExistsError):
        Journal.create(path, HEADER)
    assert Journal(path).n_done("tiles") == 2


def test_a_task_that_is_noted_twice_is_done_once(path):
    with Journal(path) as journal:
        journal.note("tiles", 3, {"n_objects": 7})
        assert journal.n_done("tiles") == 2
    assert Journal(path).n_done("tiles") == 2


@given(n_lost=st.integers(1, 400))
def test_a_journal_that_a_crash_has_cut_anywhere_keeps_its_whole_lines(tmp_path_factory, n_lost):
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    with Journal.create(path, HEADER) as journal:
        for task in range(12):
            journal.note("tiles", task, {"n_objects": task})
    whole = path.read_bytes()
    first = len(whole.splitlines(keepends=True)[0])
    path.write_bytes(whole[: max(first, len(whole) - n_lost)])
    n_whole = path.read_bytes().count(b"\n") - 1
    with Journal(path) as journal:
        assert [task for task in range(12) if journal.is_done("tiles", task)] == list(range(n_whole))
        for task in range(n_whole, 12):
            journal.note("tiles", task, {"n_objects": task})
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\x00\x00\x00\n",
        b'{"phase": "tiles", "ta\n',
        b"[1, 2]\n",
        b"7\n",
        b'{"phase": "tiles"}\n',
        b'{"task": 1}\n',
        b'{"phase": 5, "task": 1}\n',
        b'{"phase": "tiles", "task": "1"}\n',
        b'{"phase": "tiles", "task": 1.5}\n',
        b'{"phase": "tiles", "task": -1}\n',
        b'{"phase": "tiles", "task": 1000000000000000}\n',
        b"\xff\xfe\n",
    ],
)
def test_a_damaged_line_is_refused_in_one_sentence(path, line):
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(ValueError, match=r"journal\.jsonl is damaged: remove its folder to begin anew"):
        Journal(path)


@pytest.mark.parametrize(
    "first", [b"", b"{}\n", b'{"phase": "tiles", "task": 1}\n', b"[]\n", b"7\n", b'{"for']
)
def test_what_begins_without_a_header_is_no_journal(tmp_path, first):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(first)
    with pytest.raises(ValueError, match="is no journal of a segmentation"):
        Journal(path)


@pytest.mark.parametrize("left", [b"", b'{"format": 1, "pl'])
def test_where_a_header_was_torn_nothing_has_begun(tmp_path, left):
    path = tmp_path / "journal.jsonl"
    assert not is_begun(path)
    path.write_bytes(left)
    assert not is_begun(path)
    with Journal.create(path, HEADER) as journal:
        journal.note("tiles", 1, {})
    assert is_begun(path) and Journal(path).n_done("tiles") == 1


def test_a_header_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        Journal.create(tmp_path / "journal.jsonl", HEADER)
    assert not (tmp_path / "journal.jsonl").exists()


def test_a_journal_is_lines_of_json_that_other_programs_read(path):
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[1] == {"phase": "tiles", "task": 3, "n_objects": 7}
