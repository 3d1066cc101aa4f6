"""External programs as a runtime: real scripts, and all the ways they fail."""

import sys
import time
from pathlib import Path

import pytest

from latency.measuring.job import why_not
from latency.runtimes.command import facts, run_command
from latency.target import Target, read_target
from supernet.errors import RunError


def command_target(tmp_path: Path, body: str, **options: object) -> Target:
    script = tmp_path / "program.py"
    script.write_text(body)
    command = [sys.executable, str(script), "{model}", "--runs={runs}", "{threads}", "{batch}"]
    return read_target(
        {"name": "board", "runtime": "command", "device": "board", "options": {"command": command, **options}}, "target"
    )


def test_placeholders_and_numbers(tmp_path: Path) -> None:
    target = command_target(tmp_path, "import sys\nprint(len(sys.argv[1]), sys.argv[2][7:])\nprint(sys.argv[3])")
    model = tmp_path / "model.onnx"
    assert run_command(target, model, 7) == [len(str(model)), 7.0, 1.0]


def test_no_shell_is_involved(tmp_path: Path) -> None:
    odd = tmp_path / "a b; exit 3 $(false).onnx"
    target = command_target(tmp_path, "import sys\nassert sys.argv[1].endswith('a b; exit 3 $(false).onnx')\nprint(1)")
    assert run_command(target, odd, 1) == [1.0]


def test_pattern_and_unit(tmp_path: Path) -> None:
    body = "print('loading 17 things'); print('avg=2500 us, std=3'); print('avg=2600 us')"
    target = command_target(tmp_path, body, pattern=r"avg=([0-9.]+)", unit="us")
    assert run_command(target, tmp_path / "m", 1) == [2.5, 2.6]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import sys; print('disk full', file=sys.stderr); sys.exit(4)", "ended with status 4: disk full"),
        ("print('12.5 ms')", "printed 'ms'; expected positive numbers only"),
        ("print('hello')", "printed 'hello'"),
        ("print('nan')", "printed 'nan'"),
        ("print(-3)", "printed '-3'"),
        ("pass", "printed nothing; expected milliseconds"),
    ],
)
def test_failures_are_said(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(RunError, match="target board") as caught:
        run_command(command_target(tmp_path, body), tmp_path / "m", 1)
    assert message in str(caught.value)


def test_a_pattern_that_matches_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing that matches 'avg="):
        run_command(command_target(tmp_path, "print(1)", pattern="avg=(.*)"), tmp_path / "m", 1)


def test_a_program_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    body = f"import time, pathlib\nwhile True:\n    pathlib.Path({str(alive)!r}).touch(); time.sleep(0.05)"
    with pytest.raises(RunError, match=r"took more than 1 s"):
        run_command(command_target(tmp_path, body, timeout_seconds=1), tmp_path / "m", 1)
    time.sleep(0.3)
    alive.unlink(missing_ok=True)
    time.sleep(0.3)
    assert not alive.exists()


def test_a_program_that_is_not_there_is_found_before_anything_runs() -> None:
    target = read_target({"name": "b", "runtime": "command", "options": {"command": ["no-such-program-xyz"]}}, "t")
    assert "program 'no-such-program-xyz' not found" in why_not(target)
    with pytest.raises(RunError, match="cannot be started"):
        run_command(target, Path("m"), 1)


def test_another_script_is_another_fingerprint(tmp_path: Path) -> None:
    first = facts(command_target(tmp_path, "print(1)"))
    second = facts(command_target(tmp_path, "print(2)"))
    assert first != second


def test_an_argument_may_be_a_text_of_any_length() -> None:
    command = ["sh", "-c", f"echo 1 # {'long ' * 1000}"]
    target = read_target({"name": "b", "runtime": "command", "options": {"command": command}}, "t")
    assert [Path(file).name for file in facts(target)["files"]] == ["sh"]
    assert run_command(target, Path("m"), 1) == [1.0]
