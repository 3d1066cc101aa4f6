"""What is told of a task that failed."""

from orchestrator.cluster.tasks import last_line


def test_the_traceback_of_the_other_machine_is_left_out() -> None:
    assert last_line(RuntimeError("Traceback ...\n  File x\nValueError: too small\n")) == "ValueError: too small"


def test_an_error_without_a_text_is_told_by_its_kind() -> None:
    assert last_line(KeyboardInterrupt()) == "KeyboardInterrupt"
