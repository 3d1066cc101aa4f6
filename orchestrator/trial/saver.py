"""The checkpoints of a training job: written beside the next steps through Ray Train, read from whatever is whole.

Why here: Ray's record of its checkpoints is a file that a full disk leaves empty, and a checkpoint can be damaged; a
job goes on from the newest one that can be read. It must not know what is in a state.
"""

import contextlib
import io
import json
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import ray.train
import torch
from pyarrow import fs

from orchestrator.cluster.checkpoints import Due, snapshot
from orchestrator.data.storage import Storage, write_whole
from orchestrator.plan.trials import checkpoints_in
from supernet.sync import Sync

STATE_FILE, RECORD_FILE = "state.pt", "checkpoint_manager_snapshot.json"
"""What a checkpoint holds, and Ray Train's list of those that it has registered, beside them."""

NUM_KEPT = 2
"""Checkpoints of a job that are kept: the last one may be damaged."""

NAME_BYTES = 64


def drop_broken_record(store: Storage) -> bool:
    """Remove Ray's record of a run where Ray could not read it; the checkpoints stay, and the newest is found.

    Args:
        store: Folder of the run.

    Returns:
        Whether it was removed.
    """
    if not store.exists(RECORD_FILE):
        return False
    try:
        record = json.loads(store.read(RECORD_FILE))
        names = [result["checkpoint_dir_name"] for result in record["checkpoint_results"]]
        sound = all(store.child(name).names() for name in names)
    except (ValueError, LookupError, TypeError):
        sound = False
    if not sound:
        store.remove(RECORD_FILE)
    return not sound


def read_state(content: bytes) -> dict[str, Any]:
    """Read a state after a check of its sums: torch alone takes flipped bits for weights.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            broken = archive.testzip()
        if broken is None:
            state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
            return state
    except Exception as error:
        raise ValueError(f"damaged: {error}") from error
    raise ValueError(f"damaged: {broken}")


def newest_whole(filesystem: fs.FileSystem, root: str, registered: str = "") -> tuple[str, dict[str, Any]] | None:
    """Return name and state of the checkpoint to go on from, or None.

    Args:
        filesystem: Of the run's folder.
        root: Path of the run's folder.
        registered: Name of the one that Ray registered last; taken where it is whole.
    """
    found = filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True))
    names = sorted((info.base_name for info in found if info.type == fs.FileType.Directory), reverse=True)
    for name in dict.fromkeys([registered, *names] if registered else names):  # steps stand in names: search < train
        with contextlib.suppress(OSError, ValueError), filesystem.open_input_stream(f"{root}/{name}/{STATE_FILE}") as f:
            return name, read_state(f.read())
    return None


class FolderSaver:
    """The same checkpoints of a job whose one rank is the process that started it, written without Ray's help.

    Args:
        due: When to save.
        store: The run's folder.
    """

    def __init__(self, due: Due, store: Storage) -> None:
        self.due, self._store = due, store
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._written: Future[None] | None = None

    def load(self) -> dict[str, Any] | None:
        """Return the state of the newest checkpoint that is whole."""
        found = newest_whole(self._store.filesystem, self._store.root)
        return found[1] if found else None

    def save(self, state: Callable[[], dict[str, Any]], name: str) -> None:
        """Copy the state and write it in the background, once the one before is written."""
        self.wait()
        self._written = self._writer.submit(self._write, snapshot(state()), name)

    def wait(self) -> None:
        """Wait until the last state is written.

        Raises:
            RunError: If it could not be.
        """
        if self._written:
            self._written.result()

    def _write(self, state: dict[str, Any], name: str) -> None:
        filesystem, root = self._store.filesystem, self._store.root.rstrip("/")
        _write_state(state, filesystem, f"{root}/{name}")
        others = [known for known in checkpoints_in(self._store) if known != name]
        before = [known for known in others if known < name]
        for other in others:
            if other not in before[1 - NUM_KEPT :]:
                filesystem.delete_dir(f"{root}/{other}")


class TrainSaver:
    """Checkpoints through `ray.train.report`, which is a barrier: every rank saves at the same steps.

    A step pays for a copy of the state in memory; writing goes on beside the next steps. Ray registers a
    checkpoint some time after it was written, so a restart may find the one before; steps are pure functions of
    their index, so repeating them, and writing the same checkpoint again, changes nothing.
    """

    def __init__(self, due: Due, sync: Sync) -> None:
        self.due, self._sync = due, sync
        self._writing = threading.Lock()  # let go by another thread, when the copy is written

    def load(self) -> dict[str, Any] | None:
        """Return the state of the newest checkpoint that is whole; rank 0 chooses it for all."""
        storage, registered = ray.train.get_context().get_storage(), ray.train.get_checkpoint()
        filesystem, root = storage.storage_filesystem, storage.build_checkpoint_path_from_name("x").removesuffix("/x")
        found = None
        if self._sync.rank == 0:
            found = newest_whole(filesystem, root, registered.path.rsplit("/", 1)[-1] if registered else "")
        name = self._agree(found[0] if found else "")
        if not name:
            return None
        if found:
            return found[1]
        with filesystem.open_input_stream(f"{root}/{name}/{STATE_FILE}") as file:
            return read_state(file.read())

    def _agree(self, name: str) -> str:
        """Return rank 0's name."""
        sent = torch.tensor(list(name.encode().ljust(NAME_BYTES, b"\0")), dtype=torch.uint8)
        self._sync.broadcast([sent])
        return bytes(sent.tolist()).rstrip(b"\0").decode()

    def save(self, state: Callable[[], dict[str, Any]], name: str) -> None:
        """Copy the state on rank 0 and write it in the background; a copy waits for the one before."""
        checkpoint, upload = None, None
        if ray.train.get_context().get_world_rank() == 0:
            self._writing.acquire()
            copied = snapshot(state())
            storage = ray.train.get_context().get_storage()
            path = storage.build_checkpoint_path_from_name(name)
            checkpoint = ray.train.Checkpoint(path=path, filesystem=storage.storage_filesystem)
            upload = lambda placeholder, folder: self._write(copied, checkpoint)  # noqa: E731
        ray.train.report(
            {"name": name},
            checkpoint=checkpoint,
            checkpoint_dir_name=name,
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
            checkpoint_upload_fn=upload,
            delete_local_checkpoint_after_upload=False,
        )

    def _write(self, state: dict[str, Any], checkpoint: ray.train.Checkpoint) -> ray.train.Checkpoint:
        """Write a copy, and let the next one be made, also where this fails."""
        try:
            _write_state(state, checkpoint.filesystem, checkpoint.path)
        finally:
            self._writing.release()
        return checkpoint


def _write_state(state: dict[str, Any], filesystem: fs.FileSystem, folder: str) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(filesystem, f"{folder}/{STATE_FILE}", buffer.getbuffer())
