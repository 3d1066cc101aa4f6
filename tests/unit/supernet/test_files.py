"""Files that are whole or not there, whoever is killed when."""

import os
import signal
import subprocess
import sys

import pytest

from supernet.files import process_lives, whole, write_whole


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path):
    def fail() -> None:
        with whole(tmp_path / "x") as part:
            part.write_bytes(b"half of the ne")
            raise OSError("disk full")

    write_whole(tmp_path / "x", b"old")
    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_what_a_killed_process_left_is_swept_by_the_next_write(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from supernet.files import whole\n"
        "with whole(Path(sys.argv[1])) as part:\n"
        "    part.write_bytes(b'half'); print('now', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "x")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    write_whole(tmp_path / "x", b"beside a living one")
    assert len(list(tmp_path.iterdir())) == 2
    child.send_signal(signal.SIGKILL)
    child.wait()
    write_whole(tmp_path / "other", b"not its own")
    assert len(list(tmp_path.iterdir())) == 3
    write_whole(tmp_path / "x", b"new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["other", "x"]


@pytest.mark.parametrize(("umask", "rights"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_rights_are_those_of_the_umask(tmp_path, umask, rights):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "team" / "x", b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "team" / "x").stat().st_mode & 0o777 == rights
    assert (tmp_path / "team").stat().st_mode & 0o777 == 0o777 & ~umask


def test_which_processes_live():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert process_lives(str(os.getpid()))
    assert not process_lives(str(child.pid))
    assert not process_lives("no number")
