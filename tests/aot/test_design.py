"""Which messages of a step the design explains."""

from collections import Counter
from pathlib import Path

import jax
import pytest

from mmcl_jax.aot.assumed import assumed_experiment
from mmcl_jax.aot.collectives import Collective, collectives_of
from mmcl_jax.aot.design import Design
from mmcl_jax.aot.parts import encoded
from mmcl_jax.config import load

FORWARD, BACKWARD = (
    "jit(step)/gradients/jvp(encoder.image)/reduce_sum",
    "jit(step)/gradients/transpose(jvp(encoder.image))/x",
)
DESIGN = Design(parameters=Counter({64: 2, 9408: 1}), statistics=Counter({64: 1}), rows=512, widths=frozenset({128}))


def message(kind: str, *arrays: str, origin: str = "") -> Collective:
    return Collective(kind=kind, arrays=arrays, times=1, overlapped=False, origin=origin)


def purposes(design: Design, *messages: Collective) -> list[str | None]:
    return [purpose for _, purpose in design.explained(messages)]


def test_a_gradient_and_a_statistic_are_summed_once() -> None:
    sums = message("all-reduce", "f32[64]", origin=BACKWARD)
    assert purposes(DESIGN, sums, sums, sums, sums) == ["gradients", "gradients", "statistics", None]
    assert purposes(DESIGN, message("all-reduce", "bf16[7,7,3,64]", "f32[]")) == ["gradients, terms and metrics"]


def test_normalisation_on_the_way_forward_is_no_gradient() -> None:
    sums = message("all-reduce", "f32[1,64]", origin=FORWARD)
    assert purposes(DESIGN, sums, sums) == ["statistics", None]
    spans = Design(parameters=DESIGN.parameters, statistics=DESIGN.statistics, rows=512, widths=frozenset(), spans=True)
    assert purposes(spans, sums, sums) == ["statistics", "normalisation"]


@pytest.mark.parametrize("kind", ["all-gather", "all-to-all", "collective-permute", "reduce-scatter"])
def test_only_the_kernel_moves_rows(kind: str) -> None:
    inside, outside = (
        message(kind, "f32[512,128]", origin=f"jit(step)/jvp(pairs)/{where}/x") for where in ("shard_map", "dot")
    )
    assert purposes(DESIGN, inside, outside) == ["pairs", None]


def test_divided_parameters_are_gathered() -> None:
    gather = message("all-gather", "f32[9408]", origin="jit(step)/sharding_constraint")
    assert purposes(DESIGN, gather) == [None]
    divided = Design(parameters=DESIGN.parameters, statistics=Counter(), rows=512, widths=frozenset(), divided=True)
    assert purposes(divided, gather) == ["parameters"]


@pytest.fixture(scope="module")
def resnet18() -> Design:
    config = load("mmcl/mmcl:dvm", ["encoders.image.name=resnet18", "views.image.size=None", "dtype=bfloat16"])
    experiment, _ = assumed_experiment(config, jax.devices()[:8], (32, 32))
    shapes = experiment.shapes()
    return Design.of(experiment, shapes, encoded(experiment, shapes))


@pytest.mark.parametrize("program", ["v5e-step", "h100-step"])
def test_a_step_of_a_resnet18_sends_nothing_else(resnet18: Design, program: str) -> None:
    text = (Path(__file__).parent / "programs" / f"{program}.txt").read_text()
    explained = list(resnet18.explained(collectives_of(text)))
    assert [one for one, purpose in explained if purpose is None] == []
    assert {one.kind for one, purpose in explained if purpose == "pairs"} >= {"all-gather", "reduce-scatter"}
    again = [*collectives_of(text), *collectives_of(text)]  # as if every gradient were sent twice
    assert [one for one, purpose in resnet18.explained(again) if purpose is None] != []
