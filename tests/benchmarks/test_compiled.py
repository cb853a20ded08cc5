"""The compiled programs do what the committed evidence says."""

import json

import jax
import pytest

from benchmarks import compiled
from benchmarks.hlo import collectives, matrix_flops
from benchmarks.record import RESULTS
from mmcl_jax.objectives.pairs import EXECUTIONS

COMMITTED = RESULTS / f"compiled-cpu-jax{jax.__version__}.json"
MIB = 2**20


@pytest.fixture(scope="module")
def kernels() -> dict[tuple[str, int], dict]:
    return {(name, batch): compiled.kernel(name, batch) for name in EXECUTIONS for batch in compiled.BATCHES}


def committed() -> dict[tuple[str, str, int], dict]:
    if not COMMITTED.is_file():
        pytest.skip(f"no figures of JAX {jax.__version__} are committed")
    rows = json.loads(COMMITTED.read_text())["rows"]
    return {(row["program"], row["execution"], row["batch"]): row for row in rows}


def test_the_kernel_is_what_was_committed(kernels) -> None:
    recorded = committed()
    for (name, batch), row in kernels.items():
        assert row == recorded["kernel", name, batch]


def test_the_kernel_keeps_its_promises(kernels) -> None:
    """On any version: memory that grows with the batch, 4 U FLOPs, and few messages."""
    largest = compiled.BATCHES[-1]
    assert kernels["gathered", largest]["temporary_bytes"] <= 200 * MIB
    assert kernels["ring", largest]["temporary_bytes"] <= 100 * MIB
    for name, flops in (("dense", 3), ("gathered", 4), ("ring", 4)):
        assert all(kernels[name, batch]["matrix_flops_in_U"] == flops for batch in compiled.BATCHES)
    side = largest * compiled.WIDTH * 4
    sent = kernels["gathered", largest]["collectives"]
    assert sent["all-gather"]["bytes"] < 1.1 * side
    assert sent["reduce-scatter"] == {"count": 1, "bytes": side // 8}
    assert kernels["ring", largest]["collectives"].keys() == {"all-reduce", "collective-permute"}


def test_the_mmcl_step_sends_what_was_committed() -> None:
    """20 normalisation layers of ResNet-18 and 53 of ResNet-50, and one of the table encoder, add no collective."""
    row = compiled.step("groups of 64", network="resnet18")
    assert row["collectives"]["all-reduce"]["count"] < 10
    recorded = committed()
    assert row == recorded[row["program"], "groups of 64", 512]
    resnet50 = "mmcl step, 32 pixels, 8 devices"
    assert recorded[resnet50, "groups of 64", 512]["collectives"]["all-reduce"]["count"] < 10
    assert recorded[resnet50, "whole batch", 512]["collectives"]["all-reduce"]["count"] > 100


def test_collectives_in_a_loop_count_as_often_as_it_runs() -> None:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")

    def around(x):
        turn = [(i, (i + 1) % 8) for i in range(8)]
        return jax.lax.scan(lambda x, _: (jax.lax.ppermute(x * 2, "data", turn), None), x, length=5)[0]

    x = jax.ShapeDtypeStruct((16, 3), "float32", sharding=jax.sharding.NamedSharding(mesh, spec))
    text = jax.jit(jax.shard_map(around, mesh=mesh, in_specs=spec, out_specs=spec)).lower(x).compile().as_text()
    assert collectives(text) == {"collective-permute": {"count": 5, "bytes": 5 * 2 * 3 * 4}}


def test_matrix_flops_count_loops() -> None:
    def power(a):
        return jax.lax.scan(lambda x, _: (x @ a, None), a, length=3)[0]

    assert matrix_flops(power, jax.ShapeDtypeStruct((10, 10), "float32")) == 3 * 2 * 10**3
