"""Reading a traced function: the equations that its outputs need."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var

from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import IDS
from mmcl_jax.export.programs.program import Program

_FIXED = (
    "The encoder or view of {name!r} needs the number of rows as a Python number, and a program takes any number; in "
    "its code, write x.shape[0] instead of len(x)."
)


def traced(program: Program) -> ClosedJaxpr:
    """Return a program's function as a jaxpr with a symbolic number of rows, `b`.

    Its inputs and outputs are in the order of the sorted names.

    Raises:
      UserError: the function draws at random, not by the ids of rows, so that it is no function of its inputs; or it is
        written for a fixed number of rows.
    """
    (rows,) = jax.export.symbolic_shape("b")
    try:
        with jax.enable_x64(program.wide):
            jaxpr = jax.make_jaxpr(program.function)(program.arguments(rows))
    except TypeError as error:
        check("_DimExpr" not in str(error), _FIXED.format(name=program.name))
        raise
    for equation in _nested(jaxpr.jaxpr):
        check(
            IDS in program.inputs or not equation.primitive.name.startswith(("random_", "threefry")),
            f"The plain view of an input of {program.name!r} draws at random, and an exported program has no random "
            "keys; export an --input whose plain view draws nothing.",
        )
    return jaxpr


def live(jaxpr: Jaxpr, outputs: Sequence[Any]) -> list[JaxprEqn]:
    """Return the equations of a jaxpr that these outputs need, in their order."""
    needed = {variable for variable in outputs if isinstance(variable, Var)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or any(variable in needed for variable in equation.outvars):
            needed.update(variable for variable in equation.invars if isinstance(variable, Var))
            equations.append(equation)
    return equations[::-1]


def inner(equation: JaxprEqn) -> list[Jaxpr]:
    """Return the jaxprs in the parameters of an equation."""
    values = [one for value in equation.params.values() for one in (value if isinstance(value, tuple) else (value,))]
    return [
        one.jaxpr if isinstance(one, ClosedJaxpr) else one for one in values if isinstance(one, ClosedJaxpr | Jaxpr)
    ]


def _nested(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    for equation in live(jaxpr, jaxpr.outvars):
        yield equation
        for one in inner(equation):
            yield from _nested(one)
