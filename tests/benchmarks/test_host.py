"""The host's share of a step."""

from benchmarks import host


def test_a_step_with_resnet50s_arrays_costs_the_host_less_than_10_ms() -> None:
    """Other work on the machine can only add to what is measured, so the best of a few tries counts."""
    rows = host.run("small", devices=1, tries=4)
    assert rows[0]["arrays"] > 600
    assert rows[0]["median_ms"] < 10
