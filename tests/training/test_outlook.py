"""What is said of the time a training takes."""

import jax.numpy as jnp
import pytest

from mmcl_jax.training import outlook
from mmcl_jax.training.outlook import TimeEstimate, estimate, working


def test_a_long_training_has_a_shorter_one_beside_it() -> None:
    assert estimate(0.1, 10, 1000, 50) == "about 99 s left for 990 steps of 0.10 s".replace("99 s", "2 min")
    assert estimate(4.0, 0, 9000, 100).endswith("; with --config.epochs=1, in another --workdir, 6 min in all")
    assert estimate(4.0, 0, 9000, 1) == "about 10.0 h left for 9,000 steps of 4.00 s"


@pytest.mark.parametrize(("first", "steps", "lines"), [(0, 2000, 1), (700, 2000, 1), (0, 2, 0), (1998, 2000, 0)])
def test_it_is_said_once_and_from_a_few_steps(
    first: int, steps: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(outlook.time, "monotonic", lambda: now[0])
    said = []
    time_estimate = TimeEstimate(first=first, steps=steps, epochs=10, log=said.append)
    for step in range(first + 1, min(first + 40, steps) + 1):
        now[0] += 30.0 if step <= first + 2 else 0.25  # the first steps are slow, and not what the others will take
        time_estimate.at(step, {"loss": jnp.float32(1)})
    assert len(said) == lines
    assert all("steps of 0.25 s" in line for line in said)


def test_what_takes_a_while_is_said_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    with working("compiling"):
        assert capsys.readouterr().err == "compiling ...\n"
    assert capsys.readouterr().err == "compiling: 0 s\n"
    with working("compiling", quiet=True):
        pass
    assert capsys.readouterr().err == ""
