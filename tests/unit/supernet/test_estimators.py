"""Each estimator of alpha's gradient against full enumeration of gates and paths, in float64."""

import itertools
from typing import get_args

import pytest
import torch
from supernet_tiny import all_paths_of, tiny_batch, tiny_costs, tiny_space, tiny_supernet
from torch.nn import functional as F

from supernet.errors import InputError
from supernet.estimators import ESTIMATORS, EstimatorName, keep_other_probabilities, make_estimator
from supernet.gates import ArchitectureParameters, sample_candidates, sample_path
from supernet.network import Supernet
from supernet.objective import ObjectiveSettings, make_objective
from supernet.ops import frozen_statistics
from supernet.rng import generator

NAMES = get_args(EstimatorName)
SPACE = tiny_space()
COSTS = tiny_costs(SPACE)
IMAGES, LABELS = tiny_batch(8)
ZERO = (1, 2)
"""(position, candidate) of the one Zero of the tiny space."""


class Recording(Supernet):
    """A supernet that remembers the paths it ran and the candidates that were compared."""

    def forward(self, x, path, gates=None):
        self.paths = [*getattr(self, "paths", []), path]
        self.compared = [gate.compared for gate in gates] if gates is not None else None
        return super().forward(x, path, gates)


def recording():
    return Recording(SPACE, seed=1).double().train()


def alpha_at(seed, std=1.0):
    return ArchitectureParameters(SPACE, generator("alpha", seed), std=std)


def objective_of(kind):
    objective = make_objective(ObjectiveSettings(kind=kind, reference=0.6 * COSTS.maximum, weight=0.7), COSTS)
    if kind == "budget":
        objective.multiplier = 0.4
    return objective


def gate_gradients(supernet, path):
    """Return CE and dL/dg of every gate by autograd through all candidates at once: m(x) = sum_j g_j o_j(x)."""
    gates = [torch.eye(3, dtype=torch.float64)[index].clone().requires_grad_() for index in path]
    x, remaining = IMAGES, iter(gates)
    with frozen_statistics(supernet):
        for layer, plan in zip(supernet.layers, SPACE.layers, strict=True):
            if plan.searched:
                gate = next(remaining)
                y = sum(gate[j] * layer.run(x, j) for j in range(3))
            else:
                y = layer.run(x, 0)
            x = x + y if plan.residual else y
    cross_entropy = F.cross_entropy(x, LABELS)
    return cross_entropy.detach(), torch.stack(torch.autograd.grad(cross_entropy, gates))


def equation_4(probs, d, cross_entropy, objective):
    """Return sum_j dL/dg_j p_j (delta_ij - p_i), plus the same chain for the expected cost, by explicit sums."""
    ce, cost = cross_entropy.clone().requires_grad_(), COSTS.expected(probs).requires_grad_()
    by_ce, by_cost = torch.autograd.grad(objective(ce, cost), [ce, cost])
    g = by_ce * d + by_cost * COSTS.matrix
    result = torch.zeros_like(probs)
    for position, i, j in itertools.product(range(2), range(3), range(3)):
        result[position, i] += g[position, j] * probs[position, j] * (float(i == j) - probs[position, i])
    return result


def path_probability(probs, path):
    return probs[0, path[0]] * probs[1, path[1]]


def relative_error(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", ["budget", "add_linear", "mul_log"])
def test_one_path_is_exactly_equation_4_given_the_path(kind):
    supernet, estimator, zero_sampled = recording(), make_estimator("one-path"), set()
    for seed in range(12):
        alpha, objective = alpha_at(seed), objective_of(kind)
        found = estimator.gradient(supernet, alpha, IMAGES, LABELS, COSTS, objective, generator("draw", seed))
        path, probs = supernet.paths[-1], alpha.probs().detach()
        cross_entropy, d = gate_gradients(supernet, path)
        assert relative_error(found.logits, equation_4(probs, d, cross_entropy, objective)) <= 1e-5
        torch.testing.assert_close(found.cross_entropy, cross_entropy, rtol=1e-12, atol=0)
        assert d[ZERO] == 0
        zero_sampled.add(path[ZERO[0]] == ZERO[1])
        assert found.logits[ZERO] != 0
    assert zero_sampled == {True, False}


@pytest.mark.parametrize("kind", ["budget", "add_linear", "mul_log"])
def test_two_path_is_exactly_equation_4_on_the_pair_given_the_draw(kind):
    supernet, estimator, zero_sampled = recording(), make_estimator("two-path"), set()
    for seed in range(12):
        alpha, objective = alpha_at(seed), objective_of(kind)
        found = estimator.gradient(supernet, alpha, IMAGES, LABELS, COSTS, objective, generator("draw", seed))
        path, q = supernet.paths[-1], pair_probs(alpha.probs().detach(), supernet.compared)
        assert all(len(set(pair)) == 2 and index in pair for pair, index in zip(supernet.compared, path, strict=True))
        cross_entropy, d = gate_gradients(supernet, path)
        assert relative_error(found.logits, equation_4(q, d, cross_entropy, objective)) <= 1e-5
        assert ((found.logits != 0) <= (q > 0)).all()
        zero_sampled.add(path[ZERO[0]] == ZERO[1])
    assert zero_sampled == {True, False}


def pair_probs(probs, pairs):
    """Return the probabilities of each position's pair, normalised; 0 elsewhere."""
    q = torch.zeros_like(probs)
    for row, source, pair in zip(q, probs, pairs, strict=True):
        row[list(pair)] = source[list(pair)]
    return q / q.sum(1, keepdim=True)


def expected_one_path(supernet, probs, objective):
    total = torch.zeros_like(probs)
    for path in all_paths_of(SPACE):
        cross_entropy, d = gate_gradients(supernet, path)
        total += path_probability(probs, path) * equation_4(probs, d, cross_entropy, objective)
    return total


def expected_two_path(supernet, probs, objective):
    known = {path: gate_gradients(supernet, path) for path in all_paths_of(SPACE)}
    total, weight = torch.zeros_like(probs), 0.0
    for pairs in itertools.product(itertools.combinations(range(3), 2), repeat=2):
        chance = 1.0
        for p, (a, b) in zip(probs, pairs, strict=True):
            chance *= p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b])
        q = pair_probs(probs, pairs)
        for path in itertools.product(*pairs):
            cross_entropy, d = known[path]
            total += chance * path_probability(q, path) * equation_4(q, d, cross_entropy, objective)
            weight += chance * path_probability(q, path)
    assert float(weight) == pytest.approx(1.0)
    return total


def expected_reinforce(supernet, alpha, objective):
    """Return the gradient of objective(E_p[cross-entropy], E_p[cost]) by autograd over all paths."""
    probs = alpha.probs()
    expected = sum(path_probability(probs, path) * gate_gradients(supernet, path)[0] for path in all_paths_of(SPACE))
    (grad,) = torch.autograd.grad(objective(expected, COSTS.expected(probs)), [alpha.logits])
    return grad


@pytest.mark.parametrize("name", NAMES)
def test_estimators_are_unbiased_for_what_they_claim(name):
    supernet, alpha, objective = recording(), alpha_at(3, std=0.7), objective_of("add_linear")
    estimator = make_estimator(name, num_samples=3)
    exact = {
        "one-path": lambda: expected_one_path(supernet, alpha.probs().detach(), objective),
        "two-path": lambda: expected_two_path(supernet, alpha.probs().detach(), objective),
        "reinforce": lambda: expected_reinforce(supernet, alpha, objective),
    }
    samples = torch.stack(
        [
            estimator.gradient(
                supernet, alpha, IMAGES, LABELS, COSTS, objective, generator("unbiased", name, draw)
            ).logits
            for draw in range(400)
        ]
    )
    error = samples.std(0) / len(samples) ** 0.5
    mean, expected = samples.mean(0), exact[name]()
    assert ((mean - expected).abs() <= 4 * error).all()
    # Narrow enough to tell: a wrong factor or a missing term would not fit in.
    assert float(4 * error.norm() / expected.norm()) < 0.2


def test_the_baseline_of_reinforce_removes_what_all_paths_share():
    supernet, objective = recording(), make_objective(ObjectiveSettings("add_linear", reference=1.0, weight=0.0), COSTS)
    for parameter in supernet.layers[-1].parameters():
        torch.nn.init.zeros_(parameter)  # every path gives the same loss, ln 3
    arguments = (supernet, alpha_at(3), IMAGES, LABELS, COSTS, objective, generator("same"))
    found = make_estimator("reinforce", num_samples=5).gradient(*arguments)
    assert float(found.cross_entropy) == pytest.approx(1.0986, abs=1e-4)
    assert found.logits.abs().max() < 1e-15


def test_what_the_gate_estimators_estimate_is_not_the_gradient_of_the_expected_loss():
    supernet, alpha, objective = recording(), alpha_at(3, std=0.7), objective_of("add_linear")
    gate = expected_one_path(supernet, alpha.probs().detach(), objective)
    assert relative_error(gate, expected_reinforce(supernet, alpha, objective)) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_an_architecture_gradient_leaves_no_trace(name):
    supernet, alpha = recording(), alpha_at(0)
    state, logits = {k: v.clone() for k, v in supernet.state_dict().items()}, alpha.logits.detach().clone()
    objective = objective_of("budget")
    make_estimator(name).gradient(supernet, alpha, IMAGES, LABELS, COSTS, objective, generator("trace"))
    assert all(torch.equal(state[key], value) for key, value in supernet.state_dict().items())
    assert all(p.grad is None for p in supernet.parameters())
    assert torch.equal(alpha.logits, logits)
    assert alpha.logits.grad is None
    assert all(m.track_running_stats for m in supernet.modules() if isinstance(m, torch.nn.BatchNorm2d))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_sum_to_zero_and_pass_over_dropped_candidates(name):
    supernet, alpha = tiny_supernet().train(), alpha_at(1)
    alpha.alive[0, 1] = False
    supernet.layers[1].drop(1)
    for seed in range(5):
        draws = generator("dropped", seed)
        found = make_estimator(name).gradient(supernet, alpha, IMAGES, LABELS, COSTS, objective_of("budget"), draws)
        assert found.logits[0, 1] == 0
        torch.testing.assert_close(found.logits.sum(1), torch.zeros(2).double(), rtol=0, atol=1e-12)
        assert torch.isfinite(found.logits).all()


@pytest.mark.parametrize("name", ["one-path", "two-path"])
def test_recomputation_leaves_the_gradient_bitwise_equal(name):
    found = []
    for recompute in (False, True):
        supernet = tiny_supernet().train()
        supernet.recompute = recompute
        arguments = (supernet, alpha_at(2), IMAGES, LABELS, COSTS, objective_of("budget"), generator("again"))
        found.append(make_estimator(name).gradient(*arguments).logits)
    assert torch.equal(*found)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_stays_close(name):
    found = []
    for enabled in (False, True):
        supernet = Supernet(SPACE, seed=1).train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            arguments = (supernet, alpha_at(2), IMAGES.float(), LABELS, COSTS, objective_of("add_linear"))
            found.append(make_estimator(name).gradient(*arguments, generator("bf16")).logits)
    exact, low = found
    assert low.dtype == torch.float64
    assert relative_error(low, exact) < 0.1


def test_paths_are_drawn_with_their_probabilities():
    probs = torch.tensor([[0.5, 0.3, 0.2, 0.0], [0.05, 0.9, 0.05, 0.0]], dtype=torch.float64)
    draws = torch.tensor([sample_path(probs, generator("law", draw)) for draw in range(4000)])
    for row, column in zip(probs, draws.T, strict=True):
        share = torch.bincount(column, minlength=4) / len(column)
        assert ((share - row).abs() <= 4 * (row * (1 - row) / len(column)).sqrt()).all()


def test_pairs_are_drawn_without_replacement():
    p = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)
    count, seen = 4000, {}
    for draw in range(count):
        (pair,) = sample_candidates(p, generator("pairs", draw), 2)
        seen[pair] = seen.get(pair, 0) + 1
    for a, b in itertools.permutations(range(3), 2):
        chance = float(p[0, a] * p[0, b] / (1 - p[0, a]))
        assert abs(seen.get((a, b), 0) / count - chance) <= 4 * (chance * (1 - chance) / count) ** 0.5


def test_where_one_candidate_is_left_it_is_the_only_draw():
    assert sample_candidates(torch.tensor([[0.0, 1.0, 0.0]]).double(), generator("one"), 2) == [(1,)]


def test_shifting_the_touched_logits_keeps_the_other_probabilities():
    for seed in range(50):
        before = torch.randn(4, 7, generator=generator("before", seed), dtype=torch.float64)
        touched = torch.rand(4, 7, generator=generator("touched", seed)) < 0.4
        after = before + touched * torch.randn(4, 7, generator=generator("after", seed), dtype=torch.float64)
        moved = after.clone()
        keep_other_probabilities(before, moved, touched)
        assert torch.equal(moved[~touched], before[~touched])
        old, new = torch.softmax(before, 1), torch.softmax(moved, 1)
        torch.testing.assert_close(new[~touched], old[~touched], rtol=1e-12, atol=0)
        # Among themselves the touched ones share as the step wanted.
        ratio = torch.softmax(after.masked_fill(~touched, -torch.inf), 1)
        share = (new * touched) / (new * touched).sum(1, keepdim=True)
        rows = touched.any(1)
        torch.testing.assert_close(share[rows], ratio[rows], rtol=1e-12, atol=1e-15)


def test_unknown_estimators_and_too_few_paths_are_refused():
    with pytest.raises(InputError, match="did you mean 'two-path'"):
        make_estimator("two_path")
    with pytest.raises(InputError, match="at least 2"):
        make_estimator("reinforce", num_samples=1)


def test_every_name_that_settings_allow_is_an_estimator():
    assert set(NAMES) == set(ESTIMATORS)
