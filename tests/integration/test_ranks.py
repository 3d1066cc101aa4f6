"""Ranks on gloo processes: what is reduced, and k ranks at batch B/k against one rank at batch B, in float64."""

import functools
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from supernet_tiny import TinyData, tiny_costs, tiny_space, tiny_supernet

from supernet.loop import Search
from supernet.network import build_network
from supernet.objective import ObjectiveSettings
from supernet.search_settings import SearchSettings
from supernet.sharing import SharingSettings
from supernet.specialise import Training, TrainSettings
from supernet.sync import AllReduce, Alone, default_sync

NUM_STEPS, BATCH = 20, 8


class Repeated(TinyData):
    """Batches made of one quarter repeated, so that every slice has the statistics of the whole."""

    def batches(self, split, batch_size, *, start=0, rank=0, num_ranks=1):
        for images, labels in super().batches(split, batch_size // 4, start=start):
            repeats = 4 // num_ranks
            yield images.repeat(repeats, 1, 1, 1), labels.repeat(repeats)


def settings_of(estimator, costs):
    if estimator in SHARING:
        return SearchSettings(num_steps=NUM_STEPS, batch_size=16, arch_every=0, sharing=SHARING[estimator])
    return SearchSettings(
        num_steps=NUM_STEPS,
        batch_size=BATCH,
        estimator=estimator,
        arch_every=2,
        arch_learning_rate=0.05,
        arch_paths="shared",
        num_samples=3,
        objective=ObjectiveSettings(kind="budget", reference=0.6 * costs.maximum),
    )


# Warm-ups: what a path sees and learns must not depend on how the batch is cut.
SHARING = {
    "fair": SharingSettings(order="fair", num_paths=3, average=0.9),
    "sandwich": SharingSettings(sandwich=True, distillation=0.5, candidate_rate=2.0, candidate_momentum=0.5),
}

# Without batch norm every rank has its own images; with it, its statistics are made comparable by the data.
CASES = {
    "one-path": ("plain", "one-path", TinyData),
    "two-path": ("plain", "two-path", TinyData),
    "reinforce": ("plain", "reinforce", TinyData),
    "fair": ("plain", "fair", TinyData),
    "sandwich": ("plain", "sandwich", TinyData),
    "batch norm": ("mbconv", "one-path", Repeated),
}


def run_search(case, sync):
    """Return weights, alpha and multiplier after all steps, and the bytes that one weight step reduced."""
    op, estimator, data = CASES[case]
    space = tiny_space(op)
    costs = tiny_costs(space)
    search = Search(tiny_supernet(space), costs, settings_of(estimator, costs), data(space), seed=0, sync=sync)
    while not search.done:
        search.step()
    weights = {name: p.detach() for name, p in search.supernet.named_parameters()}
    multiplier = search.objective.multiplier if search.objective else 0.0
    return {**weights, "alpha": search.alpha.logits.detach(), "multiplier": torch.tensor(multiplier)}


RECIPES = {
    "paper": TrainSettings(num_steps=NUM_STEPS, batch_size=BATCH),
    "modern": TrainSettings(
        num_steps=NUM_STEPS, batch_size=24, optimiser="adamw", learning_rate=0.01, mixup=0.2, cutmix=1.0, average=0.9
    ),
}


def run_training(recipe, sync):
    space = tiny_space("plain")
    network = build_network(space, space.architecture((1, 0))).double()
    training = Training(network, RECIPES[recipe], TinyData(space), seed=0, sync=sync)
    while not training.done:
        training.step()
    training.finish()
    return {name: p.detach() for name, p in network.named_parameters()}


def reductions(sync):
    """Return what a few tensors become, and the bytes that went over the wire in one weight step."""
    shapes = [(3, 4), (5,), (2, 3, 4, 4), (1,)]
    tensors = [torch.full(shape, float(sync.rank + i)) for i, shape in enumerate(shapes)]
    tensors.append(torch.arange(4, dtype=torch.float64) * (sync.rank + 1))
    tensors[2] = tensors[2].to(memory_format=torch.channels_last)
    sync.average(tensors)
    mine = torch.full((2, 3, 4, 4), float(sync.rank + 7)).to(memory_format=torch.channels_last)
    sync.broadcast([mine])
    space = tiny_space("plain")
    settings = replace(settings_of("one-path", tiny_costs(space)), arch_every=0)
    search = Search(tiny_supernet(space), tiny_costs(space), settings, TinyData(space), seed=0, sync=sync)
    before = sync.bytes_reduced
    moved = {name: p.detach().clone() for name, p in search.supernet.named_parameters()}
    search.step()
    used = [p for name, p in search.supernet.named_parameters() if not torch.equal(p, moved[name])]
    return {
        "averaged": tensors,
        "broadcast": mine,
        "reduced": sync.bytes_reduced - before,
        "path": sum(p.numel() * p.element_size() for p in used),
    }


def work(rank, num_ranks, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=num_ranks)
    sync = default_sync()
    assert isinstance(sync, AllReduce)
    found = {case: run_search(case, sync) for case in CASES}
    found |= {recipe: run_training(recipe, sync) for recipe in RECIPES}
    small = AllReduce(bucket_mib=1e-4)  # about 100 bytes: many buckets
    torch.save({**found, "reductions": reductions(sync), "small": reductions(small)}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


# 3 ranks share 8 images as 2, 3 and 3; the statistics of such slices cannot be made comparable.
COMPARED = [(k, case) for k in (2, 3, 4) for case in CASES if (k, case) != (3, "batch norm")]


@pytest.fixture(scope="session")
def ended(tmp_path_factory) -> dict[int, list[dict]]:
    """What every rank of 2, of 3, and of 4 ended with; the processes run once for all tests."""
    # Ranks are forked from a clean server that has imported torch once.
    mp.get_context("forkserver").set_forkserver_preload(["torch", "torch._dynamo", "supernet.loop"])
    found = {}
    for num_ranks in (2, 3, 4):
        folder = tmp_path_factory.mktemp("ranks")
        mp.start_processes(work, args=(num_ranks, str(folder)), nprocs=num_ranks, start_method="forkserver")
        found[num_ranks] = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(num_ranks)]
    return found


@pytest.fixture(params=[2, 3, 4])
def ranks(request, ended) -> list[dict]:
    """What every rank of one of them ended with."""
    return ended[request.param]


@functools.cache
def search_alone(case):
    return run_search(case, Alone())


@pytest.mark.parametrize(("ranks", "case"), COMPARED, indirect=["ranks"])
def test_k_ranks_at_a_share_of_the_batch_equal_one_rank(ranks, case):
    alone = search_alone(case)
    assert all((alone[name] != value).any() for name, value in started(case).items())
    for found in ranks:
        for name, value in alone.items():
            torch.testing.assert_close(found[case][name], value, rtol=1e-6, atol=1e-12, msg=name)


def started(case):
    """Return what every search has moved at its end: the classifier, and alpha where it is searched."""
    op, estimator, _ = CASES[case]
    space = tiny_space(op)
    search = Search(
        tiny_supernet(space), tiny_costs(space), settings_of(estimator, tiny_costs(space)), TinyData(space), seed=0
    )
    moved = {"layers.3.candidates.0.linear.weight": search.supernet.layers[3].candidates[0].linear.weight.detach()}
    return moved | ({"alpha": search.alpha.logits.detach()} if search.searches else {})


@pytest.mark.parametrize("recipe", RECIPES)
def test_final_training_on_k_ranks_equals_one_rank(ranks, recipe):
    alone = run_training(recipe, Alone())
    for found in ranks:
        for name, value in alone.items():
            torch.testing.assert_close(found[recipe][name], value, rtol=1e-6, atol=1e-12, msg=name)


@pytest.mark.parametrize("which", ["reductions", "small"])
def test_only_the_path_is_reduced_and_averages_are_means(ranks, which):
    mean_rank = (len(ranks) - 1) / 2
    for found in ranks:
        *plain, double = found[which]["averaged"]
        for i, tensor in enumerate(plain):
            assert torch.equal(tensor, torch.full_like(tensor, mean_rank + i))
        torch.testing.assert_close(double, torch.arange(4).double() * (mean_rank + 1))
        assert torch.equal(found[which]["broadcast"], torch.full((2, 3, 4, 4), 7.0))
        assert found[which]["reduced"] == found[which]["path"] > 0
