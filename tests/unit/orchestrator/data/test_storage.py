"""Files that are whole or not there."""

import pytest

from orchestrator.data.storage import Storage
from supernet.errors import InputError


def test_what_is_written_is_read(tmp_path):
    store = Storage(str(tmp_path)).child("a", "b")
    assert not store.exists("x.json")
    store.write_json("x.json", {"n": 1})
    assert store.exists("x.json")
    assert store.read_json("x.json") == {"n": 1}
    assert (tmp_path / "a" / "b" / "x.json").is_file()
    assert store.names() == ["x.json"]


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    store = Storage(str(tmp_path))
    store.write("x", b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        store.write("x", b"new content")
    assert store.read("x") == b"old"


def test_local_files_are_fetched_without_a_copy(tmp_path):
    store = Storage(str(tmp_path))
    store.write("x", b"1")
    assert store.fetch("x", tmp_path / "elsewhere") == tmp_path / "x"


def test_file_uri_and_path_are_the_same_place(tmp_path):
    Storage(f"file://{tmp_path}").write("x", b"1")
    assert Storage(str(tmp_path)).read("x") == b"1"


def test_unknown_scheme_is_refused():
    with pytest.raises(InputError, match="storage 'nope://x'"):
        Storage("nope://x")
