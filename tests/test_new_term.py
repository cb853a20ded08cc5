"""The example of a term of one's own runs, and learns."""

from pathlib import Path

import pytest

from examples.new_term import main
from mmcl_jax.training.log import read_metrics


@pytest.mark.core
def test_the_example_trains(tmp_path: Path) -> None:
    result = main(tmp_path / "out")
    assert result.step == result.steps == 21
    log = read_metrics(result.run.directory)
    losses = [line["attended/image.local-table"] for line in log]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    assert 0 < log[-1]["attended/image.local-table/most"] <= 1
