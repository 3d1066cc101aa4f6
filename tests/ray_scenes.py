"""Scenes with a real Ray session, each run by a test in a process of its own: `python ray_scenes.py SCENE FOLDER`.

Why apart: Ray reads its settings when it is imported, so a scene cannot share a process with other tests.
Prints one line of JSON.
"""

import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import yaml
from repository import ROOT

from orchestrator.cluster.leftovers import DRIVERS_FILE, leftovers_freed
from orchestrator.cluster.session import connect, prepare_environment, target_resources
from orchestrator.data.storage import Storage
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import WARMUP_FILE, WARMUP_KEY, Job, plan_trials
from orchestrator.trial.records import starts_of
from supernet.cost import params_table
from supernet.errors import RunError


def job_of(folder: Path, name: str, **changes) -> Job:
    from orchestrator.data.build import build

    definition = yaml.safe_load((ROOT / "benchmarks" / "small_sweep.yaml").read_text())
    run = check_run({**definition, **changes, "name": name, "storage": str(folder)}, name)
    build("digits", folder / "digits", validation_fraction=0.2, test_fraction=0.2, seed=0)
    return Job(resolved(run), str(folder / "digits"))


def strike(job: Job, step: int, seen: dict) -> None:
    """SIGKILL one rank at the moment that the checkpoint of a step is on disk and not registered yet."""
    runs = job.store.child("train", "warmup")
    while not runs.exists(f"search-{step:06d}/state.pt"):
        time.sleep(0.002)
    ranks = [p for p in psutil.Process().children(recursive=True) if "TrainWorker" in " ".join(p.cmdline()[:1])]
    ranks[-1].send_signal(signal.SIGKILL)
    name = "checkpoint_manager_snapshot.json"
    seen["registered"] = runs.exists(name) and f"search-{step:06d}" in runs.read(name).decode()
    seen["ranks"] = len(ranks)


def strike_launch(job: Job, step: int, seen: dict) -> None:
    """SIGKILL one rank while the function that it shall run is handed to it."""
    while True:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "run_train_fn" in " ".join(process.cmdline()[:1]):
                    process.send_signal(signal.SIGKILL)
                    seen["launched"] = True
                    return
        time.sleep(0.002)


def resume(folder: Path) -> dict:
    """Three warm-ups: one loses a rank as it is launched, one right after a checkpoint was written, one none.

    Then a trial without its device: only the rank that derives a network finds out, while the other waits for its
    choice. And one on a device that has slowed down since its table was measured.
    """
    definition = yaml.safe_load((ROOT / "benchmarks" / "small_sweep.yaml").read_text())
    changes = {
        "targets": ["ort-cpu-1t"],
        "warmup": {**definition["warmup"], "num_steps": 100},
        "search": {**definition["search"], "num_steps": 10},
        "measure": {"wait_minutes": 0.05},
    }
    found = {}
    with connect(["board"], min_cpus=2):
        from orchestrator.trial.search_job import run_job
        from orchestrator.trial.trial import run_trial

        for name, strike_at in (("launched", strike_launch), ("struck", strike), ("quiet", None)):
            job, seen = job_of(folder, name, **changes), {}
            if strike_at:
                threading.Thread(target=strike_at, args=(job, 25, seen), daemon=True).start()
            run_job(job)
            digest = hashlib.sha256(job.store.read(WARMUP_FILE)).hexdigest()
            steps = [start.step for start in starts_of(job.store, WARMUP_KEY)]
            found[name] = {"starts": steps, "weights": digest, **seen}
        (trial,) = plan_trials(job.run)
        begin = time.monotonic()
        try:
            run_job(job, trial, replace(params_table(job.space), name="ort-cpu-1t"))
            found["alone"] = {"error": ""}
        except RunError as error:
            found["alone"] = {"error": str(error), "seconds": time.monotonic() - begin}
        # Milliseconds by the bytes of the file, four a parameter, half as long again as when the table was made.
        program = "import os, sys; print(1.5 * os.path.getsize(sys.argv[1]) / 4000)"
        options = {"command": [sys.executable, "-c", program, "{model}"], "runs": 1}
        target = {"name": "board", "runtime": "command", "options": options}
        short = {"workers": 1, "train": {**definition["train"], "num_steps": 10}, "measure": {"network_seconds": 0.5}}
        slow = job_of(folder, "quiet", **{**changes, **short, "targets": [target]})
        (trial,) = plan_trials(slow.run)
        costs = replace(params_table(slow.space), name="board", unit="ms").scaled(1e-3)
        result = run_trial(slow, trial, costs)
        found["slow"] = {"status": result.status, "reason": result.reason, "over": result.cost / result.predicted_cost}
    return found


def device(folder: Path) -> dict:
    """A device dies in mid-measurement and comes back; another target never comes."""
    prepare_environment(embedded=False)
    import os

    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray
    from ray.cluster_utils import Cluster

    from orchestrator.cluster.devices import measure_on_target

    marks = folder / "marks"
    program = folder / "board.py"
    program.write_text(f"import time\nopen({str(marks)!r}, 'a').write('x')\ntime.sleep(0.2)\nprint(1.5)\n")
    board = {"runtime": "command", "options": {"command": [sys.executable, str(program)], "runs": 1}}
    targets = [{"name": "board", **board}, {"name": "nowhere", **board}]
    job = job_of(folder, "devices", targets=targets, measure={"network_seconds": 4, "wait_minutes": 2})
    quick = job_of(folder, "impatient", targets=targets, measure={"wait_minutes": 0.05})
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    node = {"num_cpus": 0, "resources": target_resources(["board"]), "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        first = cluster.add_node(**node)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        space = job.space
        architecture = space.architecture(tuple(0 for _ in space.positions))
        with ThreadPoolExecutor(1) as beside:
            measuring = beside.submit(measure_on_target, job, "board", architecture, 1.5, "a trial")
            while not marks.exists():
                time.sleep(0.02)
            cluster.remove_node(first, allow_graceful=False)
            before = len(marks.read_text())
            cluster.add_node(**node)
            measured = measuring.result()
        try:
            measure_on_target(quick, "nowhere", architecture, 1.5, "a trial")
            missing = ""
        except RunError as error:
            missing = str(error)
    finally:
        ray.shutdown()
        cluster.shutdown()
    return {
        "latency_ms": measured.latency_ms,
        "asked_before_the_cut": before,
        "asked": len(marks.read_text()),
        "missing": missing,
    }


def driver(folder: Path) -> dict:
    """A driver, of the sweep in the folder or of none, which is killed: a placement group and a guard outlive it."""
    import ray
    from ray.train.v2._internal.execution.controller.placement_group_cleaner import PlacementGroupCleaner
    from ray.util.placement_group import placement_group

    ray.init(logging_level="ERROR", log_to_driver=False)
    if folder.exists():
        leftovers_freed(Storage(str(folder)), "session").__enter__()
    group = placement_group([{"CPU": 1}], lifetime="detached")
    ray.get(group.ready())
    guard = ray.remote(num_cpus=0)(PlacementGroupCleaner).options(lifetime="detached")
    left = guard.remote(controller_actor_id="0", check_interval_s=1, get_actor_timeout_s=5, stop_timeout=1)
    ray.get(left.__ray_ready__.remote())
    return {"group": group.id.hex(), "guard": left._actor_id.hex()}


def leftovers(folder: Path) -> dict:
    """Two drivers end and leave a group and a guard each; the next driver of the sweep frees those of the sweep."""
    return _leftovers(folder, dashboard=True)


def leftovers_unlisted(folder: Path) -> dict:
    """The same on a head without a dashboard, which cannot list guards."""
    return _leftovers(folder, dashboard=False)


def _leftovers(folder: Path, *, dashboard: bool) -> dict:
    prepare_environment(embedded=False)
    import os

    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray
    from ray.cluster_utils import Cluster
    from ray.util.placement_group import placement_group_table

    head = {"num_cpus": 2, "include_dashboard": dashboard, "dashboard_port": 0, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    left = {}
    try:
        os.environ["RAY_ADDRESS"] = cluster.address
        for name in ("sweep", "other"):
            where = folder / name
            if name == "sweep":
                where.mkdir()
            command = [sys.executable, __file__, "driver", str(where)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
            left[name] = json.loads(done.stdout.strip().splitlines()[-1])
        ray.init(logging_level="ERROR", log_to_driver=False)
        sweep, before = Storage(str(folder / "sweep")), Storage(str(folder / "before"))
        before.write_json(DRIVERS_FILE, {"an earlier session": sweep.read_json(DRIVERS_FILE)["session"]})
        freed = []
        for store in (before, sweep):
            with leftovers_freed(store, "session") as num_left:
                freed.append(num_left)
        groups = {name: placement_group_table()[ids["group"]]["state"] for name, ids in left.items()}
        guards = {name: _actor_state(ids["guard"]) for name, ids in left.items()}
    finally:
        ray.shutdown()
        cluster.shutdown()
    return {"freed": freed, "groups": groups, "guards": guards}


def _actor_state(name: str) -> str:
    """Ask the control store, as a head without a dashboard has no other list; a killed process is noticed later."""
    from ray._private.state import actors

    deadline = time.monotonic() + 5
    while (state := actors(name)["State"]) != "DEAD" and time.monotonic() < deadline:
        time.sleep(0.5)
    return state


def threads(folder: Path) -> dict:
    """Threads read the board all the time, also while Ray ends and after it."""
    from orchestrator.cluster.progress import reader, start_board

    counts, over, end = {"read": 0, "read_after_the_end": 0}, threading.Event(), threading.Event()

    def work(read) -> None:
        while not end.is_set():
            key = "read_after_the_end" if over.is_set() else "read"
            read()
            counts[key] += 1

    with connect([]):
        read = reader(start_board())
        readers = [threading.Thread(target=work, args=(read,)) for _ in range(8)]
        for thread in readers:
            thread.start()
        time.sleep(5)
    over.set()
    time.sleep(1)
    end.set()
    for thread in readers:
        thread.join()
    return counts


SCENES = (resume, device, driver, leftovers, leftovers_unlisted, threads)

if __name__ == "__main__":
    scenes = {function.__name__: function for function in SCENES}
    scene, where = scenes[sys.argv[1]], Path(sys.argv[2])
    print(json.dumps(scene(where)))
