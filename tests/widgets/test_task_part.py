import pytest

from napari_unet.session.state import SessionState
from napari_unet.widgets.task_part import TaskPart


@pytest.mark.parametrize("task", ["classes", "objects"])
def test_what_is_set_is_read_back_without_telling_anybody(make, session, task):
    part = make(TaskPart)
    part.setValue(task)
    assert part.value() == task
    session.set_task.assert_not_called()


def test_a_click_changes_the_task_once(make, session, press):
    part = make(TaskPart)
    press(part, "task_objects")
    press(part, "task_objects")
    assert part.value() == "objects"
    session.set_task.assert_called_once_with("objects")


def test_the_task_stays_while_training(make, can_press):
    part = make(TaskPart)
    part.show_state(SessionState(task="objects", phase="training"))
    assert part.value() == "objects"
    assert not can_press(part, "task_classes")
    part.show_state(SessionState(task="objects"))
    assert can_press(part, "task_classes")
