"""Attention that a device has no memory for is refused before anything is compiled."""

from collections.abc import Callable
from pathlib import Path

import jax
import pytest
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.cli.main import main
from mmcl_jax.config import encoder, view
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import ViewSpec, build_model
from mmcl_jax.errors import UserError
from mmcl_jax.training import memory
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.mesh import make_mesh

pytestmark = pytest.mark.core


@pytest.fixture
def config(tiny_config: Callable[..., ConfigDict]) -> ConfigDict:
    made = tiny_config("digits_mmcl", "inputs.table.missing=token")
    made.encoders.table = encoder("table_transformer", width=8, heads=2, blocks=3)
    return made


def test_a_fake_limit_and_its_remedies(
    config: ConfigDict, digits_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attention weights of three blocks for a row, which the gradient needs: float32, of 2 heads."""
    columns = len(digits_store.schema.columns)
    row = 3 * 2 * (columns + 1) ** 2 * 4
    devices = jax.devices()[:2]

    def build(limit: int | None) -> None:
        monkeypatch.setattr(memory, "memory_of_device", lambda mesh: limit)
        build_experiment(config, digits_store, devices)

    build(32 * row)
    build(None)
    with pytest.raises(UserError) as error:
        build(32 * row - 1)
    sentence = str(error.value)
    assert sentence.startswith("config.encoders.table: for 32 rows per device the attention of table_transformer needs")
    assert "choose config.batch_size or config.micro_batch for at most 31 rows per device, fewer columns" in sentence
    config.micro_batch = 32  # 16 rows per device
    build(16 * row)
    config.micro_batch = None
    config.frozen = ("encoders.table.*",)  # without a gradient, the blocks need their memory one after the other
    build(32 * row // 3)


def test_5000_columns_at_batch_64(config: ConfigDict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of TIP's four blocks needs 48 GiB for each of the two views."""
    monkeypatch.setattr(memory, "memory_of_device", lambda mesh: 80 * 2**30)
    one_block = 64 * 8 * 5001**2 * 4
    assert 47 < one_block / 2**30 < 48.5
    config.encoders = {"table": encoder("table_transformer")}
    config.projectors, config.views = {}, {"table_1": view("rows"), "table_2": view("scarf")}
    spec = ViewSpec(kind="table", shape=(5000,), widths=(1,) * 5000, missing="token")
    model = nnx.eval_shape(lambda: build_model(config, {"table": spec}, rngs=nnx.Rngs(0)))
    with pytest.raises(UserError, match=f"needs at least {4 * 2 * one_block / 2**30:.1f} GiB, and a device has"):
        memory.check_memory(config, model, make_mesh(jax.devices()[:1]))


def test_the_command_ends_with_status_2_and_writes_nothing(
    digits_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "memory_of_device", lambda mesh: 1000)
    words = [f"data={digits_store.directory}", "encoders.table.name=table_transformer", "inputs.table.missing=token"]
    given = [f"--config.{word}" for word in words]
    assert main(["pretrain", "--config", "digits_mmcl", *given, "--workdir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "config.encoders.table: for" in error
    assert "choose fewer columns with config.inputs.table.columns, or another encoder." in error
    assert not (tmp_path / "run").exists()


def test_the_memory_of_the_host_is_that_of_all_its_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone, both = (memory.memory_of_device(make_mesh(jax.devices()[:count])) for count in (1, 2))
    assert alone is not None
    assert both == alone // 2
    limit = tmp_path / "memory.max"
    limit.write_text(f"{2**20}\n")
    monkeypatch.setattr(memory, "_CONTAINER", limit)
    assert memory.memory_of_device(make_mesh(jax.devices()[:1])) == 2**20
