"""Final training, its resumption, batch-norm recalibration and evaluation."""

import io
from dataclasses import replace

import pytest
import torch
from supernet_tiny import TinyData, tiny_space, tiny_supernet
from torch import nn
from torch.nn import functional as F

from supernet.errors import RunError
from supernet.network import build_network
from supernet.specialise import LOOK_EVERY, Training, TrainSettings, specialise
from supernet.training import MAX_AT_ONCE, cosine, evaluate, recalibrate, sgd

SPACE = tiny_space()
SETTINGS = TrainSettings(num_steps=6, batch_size=8, warmup_steps=2)
MODERN = replace(SETTINGS, optimiser="adamw", weight_decay=0.05, mixup=0.2, cutmix=1.0, average=0.9)
CPU = torch.device("cpu")


def network_of(path=(1, 0), dropout=0.0):
    return build_network(replace(SPACE, dropout=dropout), SPACE.architecture(path), seed=2).double()


def training_of(settings=SETTINGS, dropout=0.3, seed=0):
    return Training(network_of(dropout=dropout), settings, TinyData(), seed=seed)


def bits(module):
    return [value.clone() for value in module.state_dict().values()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("settings", [SETTINGS, MODERN], ids=["paper", "modern"])
def test_resumed_at_any_step_training_ends_with_the_same_bits(settings):
    training, states = training_of(settings), []
    while not training.done:
        buffer = io.BytesIO()
        torch.save(training.state_dict(), buffer)
        states.append(buffer.getvalue())
        training.step()
    training.finish()
    for step, state in enumerate(states):
        again = training_of(settings)
        again.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        assert again.step_index == step
        while not again.done:
            again.step()
        again.finish()
        assert same(bits(again.network), bits(training.network))


def test_dropout_is_the_networks_and_follows_the_seed():
    trained = {}
    for dropout, seed in [(0.0, 0), (0.0, 1), (0.5, 0), (0.5, 1)]:
        training = training_of(dropout=dropout, seed=seed)
        training.step()
        trained[dropout, seed] = bits(training.network)
    assert same(trained[0.0, 0], trained[0.0, 1])
    assert not same(trained[0.5, 0], trained[0.5, 1])
    assert not same(trained[0.0, 0], trained[0.5, 0])


def test_the_network_ends_with_the_average_of_its_weights():
    training, means = training_of(replace(SETTINGS, average=0.5)), None
    while not training.done:
        weights = [p.detach().clone() for p in training.network.parameters()]
        means = means or weights
        training.step()
        rate, now = min(0.5, training.step_index / (9 + training.step_index)), training.network.parameters()
        means = [rate * mean + (1 - rate) * p.detach() for mean, p in zip(means, now, strict=True)]
    training.finish()
    for mean, parameter in zip(means, training.network.parameters(), strict=True):
        torch.testing.assert_close(parameter.detach(), mean, rtol=1e-12, atol=1e-15)


def test_adamw_is_torchs_with_norms_left_alone():
    training, network = training_of(replace(MODERN, mixup=0.0, cutmix=0.0, average=0.0), dropout=0.0), network_of()
    by_hand = torch.optim.AdamW(
        [
            {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in network.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ]
    )
    stream = TinyData().batches("train", 8)
    network.train()
    for step in range(6):
        for group in by_hand.param_groups:
            group["lr"] = cosine(step, 6, MODERN.learning_rate, 2)
        images, labels = next(stream)
        by_hand.zero_grad()
        F.cross_entropy(network(images), labels, label_smoothing=0.1).backward()
        by_hand.step()
        training.step()
    for ours, theirs in zip(training.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_training_touches_no_global_generator():
    before = torch.get_rng_state()
    training_of().step()
    assert torch.equal(torch.get_rng_state(), before)


def test_norms_and_biases_do_not_decay_in_final_training():
    for decay_norms in (False, True):
        network = network_of()
        optimiser = sgd(network, 0.1, 0.0, 0.5, decay_norms=decay_norms)
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        for p in network.parameters():
            p.grad = torch.zeros_like(p)
        optimiser.step()
        decayed = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
        weights = {name for name, p in network.named_parameters() if p.ndim > 1}
        nonzero = {name for name, value in before.items() if value.any()}
        assert decayed == (nonzero if decay_norms else weights)


def test_recalibration_takes_plain_means_of_batch_statistics():
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Dropout(0.5), nn.BatchNorm2d(3)).double()  # without its dropout
    network(torch.randn(4, 2, 5, 5).double() + 10)  # statistics to be forgotten
    batches = [(torch.randn(n, 2, 5, 5).double(), torch.zeros(n)) for n in (8, 8, 8)]
    with torch.no_grad():
        outs = [network[0](images).transpose(0, 1).flatten(1) for images, _ in batches]
    recalibrate(network, batches, CPU)
    mean = torch.stack([out.mean(1) for out in outs]).mean(0)
    var = torch.stack([out.var(1) for out in outs]).mean(0)
    torch.testing.assert_close(network[-1].running_mean, mean, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(network[-1].running_var, var, rtol=1e-10, atol=1e-12)
    assert network[-1].momentum == 0.1
    assert not network.training


def test_recalibration_leaves_out_a_short_last_batch_but_not_the_only_one():
    batches = [(torch.randn(n, 3, 1, 1), torch.zeros(n)) for n in (8, 8, 1)]  # of one image there is no variance
    norm = nn.Sequential(nn.BatchNorm2d(3))
    for given, counted in ((batches, batches[:2]), (batches[:1], batches[:1])):
        recalibrate(norm, given, CPU)
        mean = torch.stack([images.mean((0, 2, 3)) for images, _ in counted]).mean(0)
        torch.testing.assert_close(norm[0].running_mean, mean)


def test_recalibration_without_images_is_refused():
    with pytest.raises(RunError, match="no batch"):
        recalibrate(network_of(), [], CPU)


def test_evaluation_counts_every_image_once():
    network = network_of().eval()
    data = list(TinyData().once("validation", 8, limit=24))
    images, labels = (torch.cat(parts) for parts in zip(*data, strict=True))
    with torch.no_grad():
        logits = network(images)
    uneven = [(images[:7], labels[:7]), (images[7:], labels[7:])]
    found = evaluate(network, uneven, CPU)
    assert found.top1 == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    assert found.loss == pytest.approx(float(F.cross_entropy(logits.float(), labels)), rel=1e-6)
    right = logits.argmax(1) == labels
    assert found.class_top1 == pytest.approx(tuple(float(right[labels == n].double().mean()) for n in range(3)))


def test_top5_and_classes_that_no_image_has():
    logits = torch.eye(8)[:4] + torch.arange(8) / 100  # image n: n, then 7, 6, 5, 4, 3 ...
    labels = torch.tensor([0, 7, 3, 2])
    found = evaluate(nn.Flatten(), [(logits[:, :, None, None], labels)], CPU)
    assert (found.top1, found.top5) == (0.25, 0.5)
    assert found.class_top1 == (1.0, None, 0.0, 0.0, None, None, None, 0.0)
    with pytest.raises(RunError, match="no image to evaluate on"):
        evaluate(nn.Identity(), [], CPU)


def test_specialised_networks_inherit_or_start_afresh():
    supernet = tiny_supernet(SPACE, seed=7)
    architecture = SPACE.architecture((2, 1))
    inherited = specialise(supernet, architecture, inherit=True, seed=1)
    wanted = {id(p): p for p in supernet.path_parameters((2, 1))}
    assert same(list(inherited.parameters()), list(wanted.values()))
    fresh = specialise(supernet, architecture, inherit=False, seed=1)
    assert not same(list(fresh.parameters()), list(inherited.parameters()))
    again = specialise(supernet, architecture, inherit=False, seed=1)
    assert same(list(fresh.parameters()), list(again.parameters()))


def test_final_training_learns_and_finishes_in_eval_mode():
    settings = TrainSettings(num_steps=150, batch_size=16, label_smoothing=0.0)
    training = Training(network_of(), settings, TinyData(), seed=0)
    losses = [float(training.step()) for _ in range(150)]
    assert sum(losses[-30:]) / 30 < sum(losses[:30]) / 30 - 0.05
    training.finish()
    assert not training.network.training
    assert 0.4 < training.evaluate("test").top1 <= training.evaluate("test").top5 == 1.0  # of 3 classes


def test_a_large_batch_is_finished_and_evaluated_in_parts_of_the_same_images():
    large = training_of(replace(SETTINGS, batch_size=2 * MAX_AT_ONCE, recalibration_batches=1))
    parts = training_of(replace(SETTINGS, batch_size=MAX_AT_ONCE, recalibration_batches=2))
    for training in (large, parts):
        training.finish()
    assert same(bits(large.network), bits(parts.network))
    assert large.evaluate("test") == parts.evaluate("test")


@pytest.mark.parametrize(("num_steps", "looked_at"), [(2, 2), (10 * LOOK_EVERY, LOOK_EVERY)])
def test_a_loss_that_is_not_a_number_ends_training_where_it_is_looked_at(num_steps, looked_at):
    class Broken(TinyData):
        def batches(self, split, batch_size, **options):
            for images, labels in super().batches(split, batch_size, **options):
                yield images * float("inf"), labels

    training = Training(network_of(), replace(SETTINGS, num_steps=num_steps, warmup_steps=0), Broken(), seed=0)
    for _ in range(looked_at - 1):
        training.step()
    with pytest.raises(RunError, match=f"final training, step {looked_at - 1}: the loss is nan"):
        training.step()
