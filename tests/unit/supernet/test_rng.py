"""Generators: the same for the same key, others for any other, whatever was drawn before."""

import torch

from supernet.rng import generator, seeded


def draws(*key: object) -> list[float]:
    return torch.rand(4, generator=generator(*key)).tolist()


def test_a_key_decides_everything() -> None:
    first = draws(1, "paths", 7)
    torch.manual_seed(99)
    draws(2)
    assert draws(1, "paths", 7) == first


def test_another_seed_purpose_or_step_is_another_sequence() -> None:
    keys = [(1, "paths", 7), (2, "paths", 7), (1, "order", 7), (1, "paths", 8), (1, "paths")]
    assert len({tuple(draws(*key)) for key in keys}) == len(keys)


def test_global_draws_follow_the_key_inside_and_nothing_is_left_of_it() -> None:
    before = torch.get_rng_state()
    with seeded(torch.device("cpu"), 1, "dropout", 7):
        assert torch.rand(4).tolist() == draws(1, "dropout", 7)
    assert torch.equal(torch.get_rng_state(), before)
