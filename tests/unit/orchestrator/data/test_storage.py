"""Files that are whole or not there."""

import pytest

from orchestrator.data.storage import Storage, require_space
from supernet.errors import InputError, RunError
from supernet.files import whole


def test_what_is_written_is_read(tmp_path):
    store = Storage(str(tmp_path)).child("a", "b")
    assert not store.exists("x.json")
    store.write_json("x.json", {"n": 1})
    assert store.exists("x.json")
    assert store.read_json("x.json") == {"n": 1}
    assert (tmp_path / "a" / "b" / "x.json").is_file()
    assert store.names() == ["x.json"]


def test_what_a_killed_writer_left_is_no_file(tmp_path):
    """It was a trial that had begun: changes were refused for good."""
    store = Storage(str(tmp_path))
    store.write("x.json", b"{}")
    with whole(tmp_path / "y.json") as part:
        part.write_bytes(b"half")
        assert len(list(tmp_path.iterdir())) == 2
        assert store.names() == ["x.json"]
    assert store.names() == ["x.json", "y.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match=r"file/x: cannot be written \("):
        Storage(str(tmp_path / "file")).write("x", b"1")


def test_space_is_checked_where_the_folder_will_be(tmp_path):
    store = Storage(str(tmp_path / "not" / "yet"))
    require_space(store, 1)
    with pytest.raises(RunError, match=r"yet: [0-9,]+ MiB are free and about 1,099,511,627,776 MiB are needed"):
        require_space(store, 2**60)


def test_local_files_are_fetched_without_a_copy(tmp_path):
    store = Storage(str(tmp_path))
    store.write("x", b"1")
    assert store.fetch("x", tmp_path / "elsewhere") == tmp_path / "x"


def test_file_uri_and_path_are_the_same_place(tmp_path):
    Storage(f"file://{tmp_path}").write("x", b"1")
    assert Storage(str(tmp_path)).read("x") == b"1"
    assert Storage(f"file://{tmp_path}").child("a").uri == f"{tmp_path}/a"


def test_a_question_mark_in_a_path_begins_no_options(tmp_path):
    """What was written below such a folder landed in another one, beside it."""
    Storage(str(tmp_path / "which?")).child("a").write("x", b"1")
    assert (tmp_path / "which?" / "a" / "x").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["which?"]


def test_unknown_scheme_is_refused():
    with pytest.raises(InputError, match="storage 'nope://x'"):
        Storage("nope://x")


@pytest.mark.parametrize("damage", [b"", b'{"n": ', b"[1]", b"\xff\xfe{", b'{"n": NaN}'])
def test_damaged_json_names_its_file(tmp_path, damage):
    store = Storage(str(tmp_path))
    store.write("x.json", damage)
    with pytest.raises(RunError, match=r"/x\.json: .*the file is damaged"):
        store.read_json("x.json")
