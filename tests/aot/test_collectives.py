"""The logical collectives of compiled programs.

The programs are texts of real compilers, of which only the lines around messages are kept: of the all-pairs kernel, and
of the train step of MMCL with a ResNet-18, on eight chips.
"""

from pathlib import Path

import pytest

from mmcl_jax.aot.collectives import Collective, by_kind, collectives_of

PROGRAMS = Path(__file__).parent / "programs"
RING = 8 * (  # turns
    2 * (16384 * 128 * 2 + 16384 * 4)  # columns with their ids, forward and backward
    + 5 * 16384 * 4  # sums
    + 3 * 16384 * 4  # residuals
    + 16384 * 128 * 4  # gradients
)


def read(name: str) -> list[Collective]:
    return collectives_of((PROGRAMS / f"{name}.txt").read_text())


def test_pieces_of_a_chain_are_one_message() -> None:
    text = (PROGRAMS / "v5e-step.txt").read_text()
    assert text.count(" all-gather(") > 30
    gathers = [one for one in read("v5e-step") if one.kind == "all-gather"]
    assert [one.arrays for one in gathers] == [("bf16[512,128]",), ("f32[8,64,3]",)]
    assert all(one.overlapped and one.times == 1 for one in gathers)


def test_a_fused_reduce_scatter_sends_its_result() -> None:
    text = (PROGRAMS / "v5e-pairs-gathered.txt").read_text()
    assert "f32[131712,128]{1,0:T(8,128)} all-reduce(" in text  # 64 MiB, of which an eighth stays
    (scattered,) = [one for one in read("v5e-pairs-gathered") if one.kind == "reduce-scatter"]
    assert (scattered.arrays, scattered.bytes, scattered.overlapped) == (("f32[16464,128]",), 16464 * 128 * 4, False)
    assert by_kind(read("v5e-pairs-gathered"))["all-reduce"] == {"count": 1, "bytes": 16}  # of the loss


@pytest.mark.parametrize("chip", ["v5e", "h100"])
def test_messages_of_a_ring_count_once_per_turn(chip: str) -> None:
    permutes = [one for one in read(f"{chip}-pairs-ring") if one.kind == "collective-permute"]
    assert sum(one.bytes for one in permutes) == RING
    assert all(one.overlapped and one.times == 8 for one in permutes)


def test_concatenated_arrays_are_told_apart() -> None:
    sums = [one for one in read("h100-step") if one.kind == "all-reduce"]
    assert max(len(one.arrays) for one in sums) == 88
    convolutions = [array for one in sums for array in one.arrays if array.startswith("bf16")]
    assert len(convolutions) == 32
    assert "bf16[9408]" in convolutions  # 7 x 7 x 3 x 64, the first convolution


def test_a_message_that_nothing_runs_beside_is_waited_for() -> None:
    text = """ENTRY %main () -> f32[4] {
  %start = (f32[2]{0}, f32[4]{0}) all-gather-start(%x), dimensions={0}, backend_config={"is_sync":SYNC}
  %done = f32[4]{0} all-gather-done(%start)
}
"""
    for sync, overlapped in (("true", False), ("false", True)):
        (one,) = collectives_of(text.replace("SYNC", sync))
        assert (one.arrays, one.overlapped) == (("f32[4]",), overlapped)
