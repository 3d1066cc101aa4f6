"""Keys that stand for chance: functions of what they are keys of, and even."""

import numpy as np

from orchestrator.data.keys import image_digest, image_keys, sample_keys

NUM = 20_000


def halves() -> np.ndarray:
    return np.frombuffer(b"".join(image_digest(str(number).encode()) for number in range(NUM)), "<u8")[::2]


def test_an_images_key_hangs_on_its_digest_the_seed_and_the_purpose_alone() -> None:
    digests = halves()
    keys = image_keys(digests, 5, 1)
    assert (image_keys(digests[::-1], 5, 1)[::-1] == keys).all()
    assert len(np.unique(keys)) == NUM
    for other in (image_keys(digests, 6, 1), image_keys(digests, 5, 2)):
        assert abs(np.corrcoef(np.argsort(np.argsort(keys)), np.argsort(np.argsort(other)))[0, 1]) < 0.03


def test_keys_are_even_in_every_bit() -> None:
    indices = np.arange(NUM)
    for keys in (image_keys(halves(), 0, 1), sample_keys(0, np.zeros(NUM, np.int64), indices)):
        ones = [(keys >> np.uint64(bit) & np.uint64(1)).mean() for bit in range(64)]
        assert np.abs(np.array(ones) - 0.5).max() < 0.02


def test_a_samples_key_hangs_on_seed_epoch_and_index() -> None:
    indices = np.arange(NUM)
    keys = {(seed, epoch): sample_keys(seed, np.full(NUM, epoch), indices) for seed in (0, 1) for epoch in (0, 1)}
    assert len(np.unique(np.concatenate(list(keys.values())))) == 4 * NUM
    assert (sample_keys(1, np.full(3, 1), indices[7:10]) == keys[1, 1][7:10]).all()
