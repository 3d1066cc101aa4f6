"""A registry whose folder was copied or moved, whose files are damaged, missing or lost; a server that is away."""

import errno
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from registry_cases import make_network, make_result, open_registry, register, results

from orchestrator.registry.connection import Connection
from orchestrator.registry.embedded import REMAKE, artifacts_beside, settle
from orchestrator.registry.store import Registry
from orchestrator.registry.versions import Versions
from supernet.errors import InputError, RunError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("a folder, the original's") / "runs"
    registry = open_registry(root)
    registry.open_sweep("night", {})
    register(registry, make_result("t"), root.parent / "files")
    return root


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def test_work_in_a_copy_leaves_the_original_as_it_was(original: Path, copy: Path, tmp_path: Path) -> None:
    """Said before: nothing; the original's model files were deleted and new ones written into it."""
    before = contents(original)
    registry = open_registry(copy)
    registry.open_sweep("night", {"seed": 8})
    other = make_result("t", top1=0.5)
    uri = register(registry, other, tmp_path / "files", make_network(seed=3))
    assert registry.pull("night", "ort-cpu-1t", tmp_path / "out", max_ms=9)["top1"] == 0.5
    assert [result.model_uri for result in results(registry, "night")] == [uri]
    assert contents(original) == before
    assert len(list((copy / "artifacts" / "models").iterdir())) == 1


def test_a_copy_serves_without_its_original(original: Path, copy: Path, tmp_path: Path) -> None:
    """Said before: `No such artifact: ''`."""
    hidden = original.rename(original.with_name("hidden"))
    try:
        moved = copy.rename(tmp_path / "moved again")
        registry = open_registry(moved)  # as `onepath sweep` does
        assert registry.pull("night", "ort-cpu-1t", tmp_path / "out", max_ms=9)["trial"] == "t"
        code = (
            f"import mlflow, numpy; mlflow.set_tracking_uri('sqlite:///{moved}/mlflow.db');"
            "loaded = mlflow.pyfunc.load_model('models:/night-ort-cpu-1t@best');"
            "print(len(loaded.predict(numpy.zeros((3, 1, 8, 8), 'float32'))))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
        assert done.stdout.strip() == "3", done.stderr
    finally:
        hidden.rename(original)


def test_who_reads_by_another_path_changes_nothing_for_who_writes(original: Path, tmp_path: Path) -> None:
    """Said before: nothing; the networks that a running driver registered next were written to the other path."""
    root = Path(shutil.copytree(original, tmp_path / "host"))
    driver, database = open_registry(root), root / "mlflow.db"
    before = database.read_bytes()
    mounted = tmp_path / "container"  # the same files by another path, as in a mount
    mounted.mkdir()
    os.link(database, mounted / "mlflow.db")
    shutil.copytree(root / "artifacts", mounted / "artifacts", copy_function=os.link)
    reader = open_registry(mounted, create=False)
    assert reader.pull("night", "ort-cpu-1t", tmp_path / "out", max_ms=9)["trial"] == "t"
    assert database.read_bytes() == before
    # A name is no address: it goes to the registry itself.
    reader.promote("night-ort-cpu-1t", 1, "champion")
    (network,) = driver.networks("night")
    assert "champion" in network.aliases
    register(driver, make_result("u"), tmp_path / "files")
    assert len(list((root / "artifacts" / "models").iterdir())) == 2


def test_a_copy_that_cannot_be_written_to_is_read_from_a_copy_of_its_database(copy: Path, tmp_path: Path) -> None:
    database = copy / "mlflow.db"
    before = database.read_bytes()
    assert settle(database, "another experiment", tmp_path, create=False) == database
    assert database.read_bytes() == before
    readable, status = tmp_path / "readable", tmp_path / "status"
    for folder in (readable, status):
        folder.mkdir()
    child = os.fork()
    if child == 0:  # who is root writes anywhere
        code = 1
        try:
            for path in (copy, *copy.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
            if os.getuid() == 0:
                for path in (*tmp_path.parents, tmp_path):
                    path.chmod(path.stat().st_mode | 0o055)
                readable.chmod(0o777)
                os.setuid(65534)
            settled = settle(database, "tests", readable, create=False)
            told = settled.read_bytes().count(artifacts_beside(database).as_uri().encode())
            with pytest.raises(RunError, match=r"not be changed .*readonly.*; give rights"):
                settle(database, "tests", readable, create=True)
            code = 0 if settled.parent == readable and told > 0 else 2
        finally:
            os._exit(code)
    _, ended = os.waitpid(child, 0)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)
    assert os.waitstatus_to_exitcode(ended) == 0
    assert database.read_bytes() == before


@pytest.mark.parametrize("file", ["data/network/model.pt2", "data/network/model.onnx", "code/image_classifier.py"])
@pytest.mark.parametrize("harm", ["cut", "gone", "flipped"])
def test_pull_of_a_damaged_file_fails_and_leaves_the_folder_as_it_was(
    copy: Path, tmp_path: Path, file: str, harm: str
) -> None:
    """Said before: success, or a traceback after three of the five files."""
    registry = open_registry(copy)
    out = tmp_path / "out"
    registry.pull("night", "ort-cpu-1t", out, max_ms=9)
    before = contents(out)
    (harmed,) = (copy / "artifacts" / "models").glob(f"*/artifacts/{file}")
    content = harmed.read_bytes()
    if harm == "gone":
        harmed.unlink()
    else:
        harmed.write_bytes(content[:-7] if harm == "cut" else content[:-7] + bytes([content[-7] ^ 1]) + content[-6:])
    name = Path(file).name
    with pytest.raises(RunError, match=rf"models:/night-ort-cpu-1t/1: .*{name}.*`onepath sweep`"):
        registry.pull("night", "ort-cpu-1t", out, max_ms=9)
    assert contents(out) == before
    with pytest.raises(RunError):
        registry.pull("night", "ort-cpu-1t", tmp_path / "new", max_ms=9)
    assert not (tmp_path / "new").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "out"]
    # The sweep that registers what it has stored makes it whole.
    register(registry, make_result("t"), tmp_path / "files")
    assert registry.pull("night", "ort-cpu-1t", out, max_ms=9)["trial"] == "t"


def test_what_a_server_lost_is_made_again_once_its_version_is_deleted(copy: Path, tmp_path: Path) -> None:
    """Said before: `onepath sweep` registers it again; that does not read what a server has, and did nothing."""
    registry = open_registry(copy)
    registry._versions = Versions(Connection(registry.tracking_uri), registry.experiment_id, None, REMAKE)
    (harmed,) = (copy / "artifacts" / "models").glob("*/artifacts/data/network/model.onnx")
    harmed.unlink()
    with pytest.raises(RunError, match=r"missing .*; delete this version in MLflow, and `onepath sweep` registers"):
        registry.pull("night", "ort-cpu-1t", tmp_path / "out", max_ms=9)
    assert register(registry, make_result("t"), tmp_path / "files") == "models:/night-ort-cpu-1t/1"
    registry._client.delete_model_version("night-ort-cpu-1t", "1")
    register(registry, make_result("t"), tmp_path / "files")
    assert registry.pull("night", "ort-cpu-1t", tmp_path / "out", max_ms=9)["trial"] == "t"


def test_a_full_disk_is_no_loss_of_the_registrys(copy: Path, tmp_path: Path) -> None:
    """Said before, and of a server that went away meanwhile: `onepath sweep` registers again what is stored."""
    registry = open_registry(copy)

    def full(model_uri: str, folder: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    registry._versions._download = full
    with pytest.raises(RunError, match="No space left on device") as refused:
        registry.pull("night", "ort-cpu-1t", tmp_path / "out", max_ms=9)
    assert "onepath sweep" not in str(refused.value)


def test_a_folder_of_the_registrys_name_and_a_file_of_the_outputs_name_are_refused(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(InputError, match="this is a folder"):
        open_registry(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a folder"):
        open_registry(copy).pull("night", "ort-cpu-1t", tmp_path / "file", max_ms=9)


def test_a_server_that_is_away_or_is_none_is_told_at_once() -> None:
    """Said before: nothing for minutes, then a traceback of connection pools."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=rf"127.0.0.1:{port}: not reachable .*; start it, or correct"):
            Registry(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("answer", "said"), [("2.22.0", r"version 2\.22\.0; at least 3\.0"), ("<html>", "is no version of MLflow")]
)
def test_a_server_of_another_kind_is_told(answer: str, said: str) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *message: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(RunError, match=said):
                Registry(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
