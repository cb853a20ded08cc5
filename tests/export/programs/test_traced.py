"""What no program can be: a function that draws, and code that needs the number of rows."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.export.programs.jaxprs import traced
from mmcl_jax.export.programs.program import Program, ProgramInput

PROGRAM = Program(
    name="image",
    inputs={"image": ProgramInput(kind="image", shape=(2,), dtype="float32")},
    outputs={"features": (2,)},
    function=lambda rows: {"features": rows["image"]},
    wide=False,
)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x + jax.random.normal(jax.random.key(0), (2,))[None], "draws at random"),
        (lambda x: jax.jit(lambda x: x * jax.random.uniform(jax.random.key(1)))(x), "draws at random"),
        (lambda x: x + jnp.zeros((len(x), 1)), r"write x.shape\[0\] instead of len\(x\)"),
    ],
)
def test_refused(function: Callable[[Any], Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        traced(dataclasses.replace(PROGRAM, function=lambda rows: {"features": function(rows["image"])}))


def test_what_is_drawn_and_not_used_does_not_matter() -> None:
    def function(rows: dict[str, jax.Array]) -> dict[str, jax.Array]:
        jax.random.normal(jax.random.key(0), (2,))
        return {"features": rows["image"] + jnp.zeros((rows["image"].shape[0], 1))}

    traced(dataclasses.replace(PROGRAM, function=function))
