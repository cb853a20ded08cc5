"""TIP on digits: its terms share their views, its loss falls, and devices and slices do not matter."""

import json

import jax
import pytest

from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.training.build import build_experiment
from tests.training.first_steps import GOLDEN, small_config
from tests.training.walk import begin, compiled, walk


@pytest.mark.parametrize("data", ["dvm", "cardiac", "digits", "cars"])
def test_contrast_and_matching_share_the_image_and_the_corrupted_row(data: str) -> None:
    """Reconstruction fuses the same image with the masked row, whose original is the target."""
    config = load(f"tip/tip:{data}")
    contrast, matching, reconstruction = config.objective
    assert contrast.between == matching.between[:2] == ("image", "table")
    assert [term.weight for term in config.objective] == [pytest.approx(1 / 3)] * 3
    assert matching.between[2] == "fused:none"
    assert config.views.fused.of == ("image.local", "table.local")
    assert reconstruction.between == ("fused_masked:none", "table_masked")
    assert config.views.fused_masked.of == ("image.local", "table_masked.local")
    assert (config.views.table.name, config.views.table.rate) == ("scarf", 0.3)
    assert (config.views.table_masked.rate, config.views.table_masked.count) == (0.5, "exact")
    assert contrast.temperature == matching.temperature == 0.1
    assert config.encoders.fusion.pool == "first"


@pytest.mark.parametrize(("data", "batch", "decay"), [("dvm", 256, 1.5e-6), ("cardiac", 128, 1e-4)])
def test_the_published_settings(data: str, batch: int, decay: float) -> None:
    config = load(f"tip/tip:{data}")
    assert (config.batch_size, config.schedule.learning_rate, config.optimizer.weight_decay) == (batch, 3e-4, decay)
    for encoder in (config.encoders.table, config.encoders.fusion):
        assert (encoder.width, encoder.heads, encoder.blocks) == (512, 8, 4)
    assert (config.encoders.image.name, config.epochs, config.schedule.warmup_epochs) == ("resnet50", 500, 10)
    assert [config.projectors[name].hidden for name in ("image", "table")] == [2048, 512]


def test_four_devices_in_slices_train_as_one_device(digits_store: Store) -> None:
    """The losses of one device, in one slice, are recorded (see `test_first_steps`)."""
    config = small_config("tip/tip:digits", digits_store)
    config.micro_batch = 32
    experiment = build_experiment(config, digits_store, jax.devices()[:4])
    losses = walk(compiled(experiment), *begin(experiment, 8))
    expected = json.loads(GOLDEN.read_text())["tip/tip:digits"]["losses"][:8]
    assert losses == pytest.approx(expected, rel=2e-4)
    assert losses[:4] == pytest.approx(expected[:4], rel=2e-5)
    assert losses[-1] < 0.9 * losses[0]
