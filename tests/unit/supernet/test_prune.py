"""Which candidates are dropped: after patience, never the last one, never the budget's last way out."""

from dataclasses import replace

import pytest
import torch
from supernet_tiny import TinyData, tiny_costs, tiny_space, tiny_supernet

from supernet.errors import InputError
from supernet.loop import Search
from supernet.objective import ObjectiveSettings
from supernet.prune import Pruner, PruneSettings, spare_cheapest
from supernet.rng import generator
from supernet.search_settings import SearchSettings
from supernet.sharing import SharingSettings

SPACE = tiny_space(blocks=2)
COSTS = tiny_costs(SPACE)


def test_candidates_are_dropped_after_patience_and_not_before_the_start():
    alive = torch.ones(1, 3, dtype=torch.bool)
    pruner = Pruner(PruneSettings(threshold=0.5, start=0.5, patience=2), alive)
    low = torch.tensor([[0.9, 0.09, 0.01]], dtype=torch.float64)
    high = torch.tensor([[0.3, 0.3, 0.4]], dtype=torch.float64)
    assert not pruner.check(low, alive, 0.1).any()
    assert not pruner.check(high, alive, 0.2).any()
    assert not pruner.check(low, alive, 0.3).any()
    assert not pruner.check(low, alive, 0.4).any()
    assert pruner.strikes.tolist() == [[0, 2, 2]]
    assert pruner.check(low, alive, 0.5).tolist() == [[False, True, True]]


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("start", [0.0, 0.5, 0.8, 1.0])
def test_what_can_drop_nothing_is_told_from_what_can(stride, start):
    alive, low = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[0.99, 0.01]], dtype=torch.float64)
    settings = PruneSettings(start=start, patience=3, every=2)
    for num_steps in range(1, 60):
        pruner = Pruner(settings, alive)
        checks = range(2 * stride - 1, num_steps, 2 * stride)
        dropped = any(bool(pruner.check(low, alive, step / num_steps).any()) for step in checks)
        assert dropped == (settings.idle(num_steps, stride) == "")


def test_a_search_in_which_nothing_could_happen_is_refused():
    settings = SearchSettings(num_steps=60, batch_size=8, objective=ObjectiveSettings(reference=COSTS.maximum))
    for change, message in (
        ({"arch_every": 61}, r"search\.arch_every: 61, more than num_steps 60"),
        ({"prune": PruneSettings()}, r"search\.prune: 12 architecture steps are fewer than every 20 times patience 3"),
        ({"sharing": SharingSettings(order="fair")}, r"search\.sharing\.order: 'fair' is for a warm-up"),
    ):
        with pytest.raises(InputError, match=message):
            Search(tiny_supernet(SPACE), COSTS, replace(settings, **change), TinyData(SPACE), seed=0)


def test_the_last_path_always_remains():
    for seed in range(30):
        alive = torch.ones(4, 5, dtype=torch.bool)
        pruner = Pruner(PruneSettings(threshold=5.0, start=0.0, patience=1), alive)
        probs = torch.softmax(torch.randn(4, 5, generator=generator("last", seed), dtype=torch.float64), 1)
        for _ in range(3):
            doomed = pruner.check(probs * alive, alive, 1.0)
            alive &= ~doomed
        assert alive.sum(1).tolist() == [1] * 4
        assert torch.equal(alive.int().argmax(1), probs.argmax(1))


def test_pruning_never_puts_the_budget_out_of_reach():
    for seed in range(100):
        alive = torch.ones(3, 3, dtype=torch.bool)
        doomed = torch.rand(3, 3, generator=generator("doomed", seed)) < 0.5
        doomed[torch.arange(3), torch.randint(3, (3,), generator=generator("keep", seed))] = False
        budget = COSTS.minimum + 0.1 * (seed % 10) * (COSTS.maximum - COSTS.minimum)
        spared = spare_cheapest(doomed, alive, COSTS, budget)
        left = [
            [c for c, out in zip(*row, strict=True) if not out] for row in zip(COSTS.candidates, spared, strict=True)
        ]
        assert COSTS.fixed + sum(map(min, left)) <= budget * (1 + 1e-12)
        assert (spared <= doomed).all()
        kept = [
            [c for c, out in zip(*row, strict=True) if not out] for row in zip(COSTS.candidates, doomed, strict=True)
        ]
        if COSTS.fixed + sum(map(min, kept)) <= budget:
            assert torch.equal(spared, doomed)
