"""The walk over a traced function, equation by equation, that builds its ONNX model."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from mmcl_jax import __version__
from mmcl_jax.export.programs.jaxprs import inner, live
from mmcl_jax.export.programs.onnx import contraction, elementwise, structure
from mmcl_jax.export.programs.onnx.graph import (
    IR_VERSION,
    OPSET,
    Graph,
    Tensor,
    UnsupportedError,
    aval,
    constant,
    storage,
    stored,
    whole_operands,
)
from mmcl_jax.versions import versions

ROWS = "rows"  # the name of the first axis of inputs and outputs
_INLINED = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2")
_FORMS: dict[str, Callable[..., Any]] = {**elementwise.FORMS, **structure.FORMS, **contraction.FORMS}


def onnx_model(jaxpr: ClosedJaxpr, inputs: Sequence[str], outputs: Sequence[str], *, name: str) -> Any:
    """Return the ONNX model of a function whose arguments all have a symbolic first axis, the number of rows.

    Every equation becomes the operators that compute the same in the same type; what depends on no input is computed
    here, by JAX. bfloat16 and float16 are computed in float32 and rounded after every operator.

    Args:
      jaxpr: of the function.
      inputs: names of the arguments.
      outputs: names of the results.
      name: of the graph.

    Raises:
      UnsupportedError: the function has a primitive without a form in ONNX here.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = Graph(rows=jaxpr.in_avals[0].shape[0])
    graph.rows_name = graph.node("Shape", inputs[0], start=0, end=1)

    def declared(name: str, like: Any, type_name: str) -> Any:
        shape = [size if isinstance(size, int) else ROWS for size in like.shape]
        return helper.make_tensor_value_info(name, getattr(TensorProto, type_name), shape)

    arguments = []
    for input_name, given in zip(inputs, jaxpr.in_avals, strict=True):
        inside = storage(given.dtype)
        name_inside = input_name if _native(given.dtype) == inside else graph.cast(input_name, inside)
        arguments.append(Tensor(np.dtype(given.dtype), given.shape, name_inside))
    results = [
        graph.whole(result, like.shape)
        for result, like in zip(_walked(graph, jaxpr, arguments), jaxpr.out_avals, strict=True)
    ]
    for result, output_name in zip(results, outputs, strict=True):
        graph.nodes.append(helper.make_node("Identity", [graph.name(result)], [output_name]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [declared(one, like, _native(like.dtype)) for one, like in zip(inputs, jaxpr.in_avals, strict=True)],
            [declared(one, like, storage(like.dtype)) for one, like in zip(outputs, jaxpr.out_avals, strict=True)],
            [onnx.numpy_helper.from_array(stored(value), one) for one, value in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="mmcl_jax",
        producer_version=__version__,
    )
    helper.set_model_props(model, {f"version of {name}": version for name, version in versions().items()})
    return model


def _native(dtype: Any) -> str:
    """Return ONNX's type of the same name as a type of JAX."""
    name = np.dtype(dtype).name
    return {"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper())


def _walked(graph: Graph, jaxpr: ClosedJaxpr | Jaxpr, arguments: Sequence[Tensor]) -> list[Tensor]:
    """Add a function to the graph, and return its results."""
    body = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    values: dict[Any, Tensor] = dict(zip(body.invars, arguments, strict=True))
    if isinstance(jaxpr, ClosedJaxpr):
        values |= {var: constant(value) for var, value in zip(body.constvars, jaxpr.consts, strict=True)}

    def read(atom: Any) -> Tensor:
        return constant(np.asarray(atom.val, aval(atom).dtype)) if isinstance(atom, Literal) else values[atom]

    for equation in live(body, body.outvars):
        results = _added(graph, equation, [read(atom) for atom in equation.invars])
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in body.outvars]


def _added(graph: Graph, equation: JaxprEqn, operands: list[Tensor]) -> list[Tensor]:
    """Add an equation to the graph, and return its results."""
    name = equation.primitive.name
    if name in _INLINED:
        (jaxpr,) = inner(equation)
        closed = next((value for value in equation.params.values() if isinstance(value, ClosedJaxpr)), jaxpr)
        return _walked(graph, closed, operands)
    if name == "optimization_barrier":
        return operands
    if name == "platform_index":  # of `jax.lax.platform_dependent`, whose default is the plain form
        return [constant(np.int32(equation.params["platforms"].index(None)))]
    if name == "cond" and operands[0].value is not None:
        return _walked(graph, equation.params["branches"][int(operands[0].value)], operands[1:])
    if name == "scan":
        return _scan(graph, equation, operands)
    if _is_constant(equation, operands):
        return _computed(equation, operands)
    if name not in _FORMS:
        raise UnsupportedError(f"it computes {name!r}, which has no form in ONNX here")
    results = _FORMS[name](graph, equation, *operands)
    return results if isinstance(results, list) else [results]


def _is_constant(equation: JaxprEqn, operands: list[Tensor]) -> bool:
    """Return whether the results depend on no input and not on the number of rows.

    Broadcasts of constants stay as they are, so that they take no memory.
    """
    shapes = [aval(var).shape for var in (*equation.invars, *equation.outvars)]
    static = all(isinstance(size, int) for shape in shapes for size in shape)
    return static and all(x.value is not None for x in operands) and equation.primitive.name != "broadcast_in_dim"


def _computed(equation: JaxprEqn, operands: list[Tensor]) -> list[Tensor]:
    """Return the results of an equation on constants, by JAX."""
    whole = [np.broadcast_to(x.value, aval(var).shape) for x, var in zip(operands, equation.invars, strict=True)]  # type: ignore[arg-type]
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        results = equation.primitive.bind(*map(jax.numpy.asarray, whole), **equation.params)
    return list(map(constant, results if equation.primitive.multiple_results else [results]))


def _scan(graph: Graph, equation: JaxprEqn, operands: list[Tensor]) -> list[Tensor]:
    """Add a loop over the first axis of arrays as ONNX's `Scan`, whose body reads constants from outside."""
    from onnx import TensorProto, helper

    params = equation.params
    fixed, carried = params["num_consts"], params["num_carry"]
    if params["reverse"] or len(equation.outvars) != carried:
        raise UnsupportedError("it has a loop that runs backwards or stacks results")
    body, jaxpr = Graph(parent=graph), params["jaxpr"]
    whole = whole_operands(graph, equation, operands)
    outside = [x if x.value is None else Tensor(x.dtype, x.shape, graph.name(x)) for x in whole[:fixed]]
    inside = [Tensor(np.dtype(like.dtype), like.shape, graph.new_name("scanned")) for like in jaxpr.in_avals[fixed:]]
    results = [
        body.whole(result, like.shape)
        for result, like in zip(_walked(body, jaxpr, [*outside, *inside]), jaxpr.out_avals, strict=True)
    ]
    names = [body.node("Identity", body.name(result)) for result in results]

    def declared(name: str, dtype: Any) -> Any:
        return helper.make_tensor_value_info(name, getattr(TensorProto, storage(dtype)), None)

    from onnx import numpy_helper

    part = helper.make_graph(
        body.nodes,
        graph.new_name("body"),
        [declared(x.name, x.dtype) for x in inside],
        [declared(name, result.dtype) for name, result in zip(names, results, strict=True)],
        [numpy_helper.from_array(stored(value), one) for one, value in body.constants.items()],
    )
    scanned = [graph.name(x) for x in whole[fixed:]]
    outputs = graph.nodes_with("Scan", scanned, carried, body=part, num_scan_inputs=len(inside) - carried)
    return [
        Tensor(x.dtype, aval(var).shape, name)
        for x, var, name in zip(whole[fixed:], equation.outvars, outputs, strict=False)
    ]
