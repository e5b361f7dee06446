import pytest
import torch

from napari_unet.session import threads
from napari_unet.session.threads import leave_a_core


@pytest.fixture(autouse=True)
def _as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("n_cores", "expected"), [(1, 1), (2, 1), (4, 3)])
def test_one_core_is_left_to_the_window(monkeypatch, n_cores, expected):
    monkeypatch.setattr(threads, "_n_cores", lambda: n_cores)
    leave_a_core()
    assert torch.get_num_threads() == expected


def test_the_user_may_want_another_number():
    leave_a_core(2)
    assert torch.get_num_threads() == 2
