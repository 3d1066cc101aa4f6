"""The settings that are presets."""

from supernet.objective import ObjectiveSettings
from supernet.recipes import fine_tuning, modern_training, paper_search, paper_training, paper_warmup


def test_the_papers_schedule():
    warmup, search = paper_warmup(), paper_search(ObjectiveSettings("mul_log", reference=80.0))
    per_epoch = 4810  # 1,231,167 images in batches of 256
    assert (warmup.num_steps, search.num_steps) == (40 * per_epoch, 120 * per_epoch)
    assert (warmup.learning_rate, search.learning_rate, search.arch_every) == (0.05, 0.025, 5)
    final = paper_training()
    assert final.num_steps == 300 * 5005
    assert (final.inherit, final.decay_norms, final.label_smoothing, final.weight_decay) == (False, False, 0.1, 4e-5)


def test_the_modern_recipe_follows_the_batch():
    large, small = modern_training(10), modern_training(10, batch_size=256)
    assert (large.num_steps, small.num_steps) == (10 * 1252, 10 * 5005)
    assert (large.learning_rate, small.learning_rate) == (0.5, 0.125)
    assert large.warmup_steps == 626


def test_fine_tuning_is_short_and_gentle():
    short, long = fine_tuning(3), modern_training(3)
    assert (short.num_steps, short.warmup_steps) == (3 * 1252, 187)
    assert short.learning_rate == long.learning_rate / 10
    assert (short.inherit, short.mixup, short.cutmix) == (True, 0.0, 0.0)
