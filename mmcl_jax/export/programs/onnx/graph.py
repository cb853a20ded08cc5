"""An ONNX graph while it is built, and the tensors in it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from jax.extend.core import JaxprEqn

from mmcl_jax.errors import UserError

OPSET = 18
IR_VERSION = 9  # that of opset 18 to 20, so that runtimes since 2023 read the file
_NARROW = {"bfloat16": "BFLOAT16", "float16": "FLOAT16"}  # computed in float32, and rounded after every operator
_STORED = {"bool": "BOOL", "int64": "INT64", "float64": "DOUBLE", "float32": "FLOAT"} | dict.fromkeys(_NARROW, "FLOAT")
_INTEGERS = ("int8", "int16", "int32", "uint8", "uint16")  # are int32 inside


class UnsupportedError(UserError):
    """The error for a function that has no form in ONNX here."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A value of the function, in the graph.

    Attributes:
      dtype: in JAX.
      shape: in the graph: as in JAX, but 1 where a broadcast was not carried out, since ONNX's operators broadcast.
        Sizes that depend on the number of rows are symbolic.
      name: in the graph; "" for a constant.
      value: of a constant, which enters the graph when it is used.
    """

    dtype: np.dtype
    shape: tuple[Any, ...]
    name: str = ""
    value: np.ndarray | None = None


class Graph:
    """Nodes and constants, and the names of both. A subgraph, the body of a `Scan`, reads those of its parent."""

    def __init__(self, rows: Any = None, parent: "Graph | None" = None) -> None:
        """Make an empty graph.

        Args:
          rows: the symbol of the number of rows.
          parent: of a subgraph.
        """
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.rows: Any = parent.rows if parent else rows
        self.rows_name: str = parent.rows_name if parent else ""  # of a tensor int64 [1]
        self._parent = parent
        self._names: dict[Any, str] = {}
        self._used: dict[int, tuple[np.ndarray, str]] = {}  # keeps each constant, so that its id stays its own
        self._count: list[int] = [0] if parent is None else parent._count

    def new_name(self, hint: str) -> str:
        """Return a name that nothing else in the graph, its parent or its subgraphs has."""
        self._count[0] += 1
        return f"{hint}/{self._count[0]}"  # no input or output has a slash

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the name of the output."""
        (output,) = self.nodes_with(operator, inputs, 1, **attributes)
        return output

    def nodes_with(self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add a node, and return the names of its outputs."""
        from onnx import helper

        names = [self.new_name(operator.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def constant(self, value: np.ndarray) -> str:
        """Return the name of a constant; small constants with the same value share it."""
        key = (value.dtype.str, value.shape, value.tobytes()) if value.size <= 16 else id(value)
        if key not in self._names:
            self._names[key] = name = self.new_name("constant")
            self.constants[name] = value
        return self._names[key]

    def integers(self, *values: int) -> str:
        """Return the name of a constant int64 [n]."""
        return self.constant(np.array(values, np.int64))

    def name(self, tensor: Tensor) -> str:
        """Return the name of a tensor."""
        if tensor.value is None:
            return tensor.name
        key = id(tensor.value)
        if key not in self._used:
            self._used[key] = (tensor.value, self.constant(stored(tensor.value)))
        return self._used[key][1]

    def result(self, name: str, like: Any, shape: Sequence[Any] | None = None) -> Tensor:
        """Return the output of a node as a tensor, rounded if its type has fewer bits than float32.

        Args:
          name: of the output.
          like: anything with the `dtype` and the `shape` of the value in JAX.
          shape: in the graph, if it differs.
        """
        narrow = _NARROW.get(np.dtype(like.dtype).name)
        if narrow is not None:
            name = self.cast(self.cast(name, narrow), "FLOAT")
        return Tensor(np.dtype(like.dtype), tuple(like.shape if shape is None else shape), name)

    def cast(self, name: str, to: str) -> str:
        """Return a tensor in another of ONNX's types, such as "FLOAT"."""
        from onnx import TensorProto

        return self.node("Cast", name, to=getattr(TensorProto, to))

    def sizes(self, shape: Sequence[Any]) -> str:
        """Return the name of a shape int64 [n], computed from the number of rows where it depends on it."""
        if all(isinstance(size, int) for size in shape):
            return self.integers(*shape)
        parts = []
        for size in shape:
            if isinstance(size, int):
                parts.append(self.integers(size))
            else:
                parts.append(self.node("Mul", self.rows_name, self.integers(self.multiple(size))))
        return self.node("Concat", *parts, axis=0)

    def multiple(self, size: Any) -> int:
        """Return k of a symbolic size of k times the number of rows."""
        factor = size // self.rows
        if not isinstance(factor, int) or size != factor * self.rows:
            raise UnsupportedError(f"it has an array of {size} rows, where b is the size of the batch")
        return factor

    def whole(self, tensor: Tensor, shape: Sequence[Any]) -> Tensor:
        """Return a tensor whose broadcasts are carried out."""
        if tuple(tensor.shape) == tuple(shape):
            return tensor
        if tensor.value is not None and all(isinstance(size, int) for size in shape):
            return dataclasses.replace(tensor, shape=tuple(shape), value=np.broadcast_to(tensor.value, shape))
        name = self.node("Expand", self.name(tensor), self.sizes(shape))
        return Tensor(tensor.dtype, tuple(shape), name)


def aval(variable: Any) -> Any:
    """Return the shape and the dtype of a variable of a jaxpr, whose declared type has neither."""
    return variable.aval


def whole_operands(graph: Graph, equation: JaxprEqn, operands: Sequence[Tensor]) -> list[Tensor]:
    """Return the operands of an equation with their broadcasts carried out."""
    return [graph.whole(x, aval(var).shape) for x, var in zip(operands, equation.invars, strict=True)]


def constant(value: Any) -> Tensor:
    """Return a constant as a tensor."""
    array = np.asarray(value)
    return Tensor(array.dtype, array.shape, value=array)


def storage(dtype: Any) -> str:
    """Return ONNX's type in which values of a type of JAX are computed.

    Raises:
      UnsupportedError: there is none.
    """
    name = np.dtype(dtype).name
    if name in _INTEGERS:
        return "INT32"
    if name not in _STORED:
        raise UnsupportedError(f"it computes with {name}")
    return _STORED[name]


def stored(value: np.ndarray) -> np.ndarray:
    """Return a constant in the type of its `storage`."""
    types = {"BOOL": np.bool_, "INT32": np.int32, "INT64": np.int64, "FLOAT": np.float32, "DOUBLE": np.float64}
    return np.ascontiguousarray(value, types[storage(value.dtype)]).reshape(value.shape)


def is_float(dtype: Any) -> bool:
    """Return whether a type is one of floats, bfloat16 too."""
    return np.issubdtype(dtype, np.floating) or np.dtype(dtype) == ml_dtypes.bfloat16
