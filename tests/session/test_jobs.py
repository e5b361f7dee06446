import pytest

from napari_unet.session.jobs import Failure, Jobs, Listener, caught, failure, run_now


def count(n, error=None):
    yield from range(n)
    if error:
        raise error
    return "done"


@pytest.fixture
def told():
    return []


@pytest.fixture
def jobs(told):
    return Jobs(run_now, Listener(told.append, told.append, told.append))


def test_a_job_shows_its_news_and_hands_over_its_result(jobs, told):
    news, results = [], []
    jobs.run(count(3), results.append, news.append)
    assert (news, results, told) == ([0, 1, 2], ["done"], [])


def test_an_error_in_a_job_is_one_sentence_with_details(jobs, told):
    results = []
    jobs.run(count(1, ValueError("w0 is -1: choose 0 or more")), results.append)
    assert not results and told[0].sentence == "w0 is -1: choose 0 or more"
    assert "Traceback" in told[0].details


def test_an_error_in_what_is_done_with_the_result_is_told_too(jobs, told):
    def refuse(_):
        raise OSError("the disk is full: make room")

    jobs.run(count(0), refuse)
    jobs.run(count(2), lambda _: None, refuse)
    assert [each.sentence for each in told] == ["the disk is full: make room"] * 3


def test_an_error_that_nobody_foresaw_is_told_too(jobs, told, strange_errors):
    with jobs.telling():
        raise KeyError("head")
    jobs.run(count(0), lambda _: [][1])
    assert [each.sentence for each in told] == ["KeyError: 'head'", "IndexError: list index out of range"]
    assert "Traceback" in told[1].details and len(strange_errors) == 2
    strange_errors.clear()


def test_whoever_wants_to_hear_of_the_failure_hears_it_instead(jobs, told):
    failures = []
    jobs.run(count(0, ValueError("no")), print, failed=failures.append)
    assert len(failures) == 1 and not told


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("w0 is -1: choose 0 or more"), "w0 is -1: choose 0 or more"),
        (RuntimeError("mat1 and mat2"), "RuntimeError: mat1 and mat2"),
        (KeyError("head"), "KeyError: 'head'"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_errors_that_do_not_explain_themselves_are_named(error, sentence):
    assert failure(error).sentence == sentence


def test_a_closed_job_is_no_failure():
    closed = []

    def work():
        try:
            yield
        finally:
            closed.append(True)

    job = caught(work())
    next(job)
    job.close()
    assert closed == [True]


def test_a_failure_is_returned_not_raised():
    job = caught(count(0, ValueError("no")))
    with pytest.raises(StopIteration) as end:
        next(job)
    assert isinstance(end.value.value, Failure)
