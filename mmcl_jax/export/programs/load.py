"""`mj.load_program`: an exported StableHLO program as a function of NumPy arrays."""

import dataclasses
import functools
import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import jax
import numpy as np
from jax import export

from mmcl_jax.border import Open, as_type, read_written
from mmcl_jax.errors import check
from mmcl_jax.export.card import CARD
from mmcl_jax.export.programs.stablehlo import Rows, callable_of, refused
from mmcl_jax.files import damage, reading

_REMEDY = "put a copy of it back, or export the run again"
BLOCK = 256  # most rows that are computed at once


class _Argument(TypedDict):
    kind: str
    shape: list[int]
    dtype: str


class _ProgramKeys(TypedDict):
    input: str
    file: str
    arguments: dict[str, Annotated[_Argument, Open]]
    outputs: dict[str, list[int]]
    needs_x64: bool
    dtype: Literal["float32", "bfloat16"]
    jax: str
    date: str


_Program = Annotated[_ProgramKeys, Open]


class _Provenance(TypedDict):
    command: str


class _Card(TypedDict):
    files: list[dict[str, Any]]
    preprocessing: dict[str, Any]
    provenance: Annotated[_Provenance, Open]


@dataclasses.dataclass(frozen=True)
class LoadedProgram:
    """An exported program.

    Attributes:
      file: that it was read from.
      details: of the file in the card: `arguments` (kind, shape of one row and dtype by input), `outputs` (shape of one
        row by name), versions and bounds.
      preprocessing: of the inputs in the card, such as the columns of a table with their categories.
    """

    file: Path
    details: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    _exported: export.Exported = dataclasses.field(repr=False)

    def __call__(self, **rows: Any) -> dict[str, np.ndarray]:
        """Return the outputs by name, float32 `[B, ...]`.

        Rows are computed in blocks of 256, and the last block is padded to a power of two: that is at most nine
        compilations for any number of rows. Outputs of a row may differ in their last bits between sizes of blocks.

        Args:
          rows: by input, arrays `[B, *shape]` of any number of rows, also 0, in the dtype of the input or one that it
            holds without loss.

        Raises:
          UserError: an input is missing or unknown, or has another shape or dtype.
        """
        arrays = self._checked(rows)
        count = len(next(iter(arrays.values())))
        if count == 0:
            return {name: np.zeros((0, *shape), np.float32) for name, shape in self.details["outputs"].items()}
        parts = []
        for start in range(0, count, BLOCK):
            block = {name: _padded(array[start : start + BLOCK]) for name, array in arrays.items()}
            parts.append(self._run(block))
        return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}

    @functools.cached_property
    def _run(self) -> Callable[[Rows], Rows]:
        return callable_of(self._exported, wide=self.details["needs_x64"], dtype=self.details["dtype"])

    def _checked(self, rows: Mapping[str, Any]) -> dict[str, np.ndarray]:
        arguments = self.details["arguments"]
        names = " and ".join(arguments)
        for name in rows:
            check(name in arguments, f"{self.file.name} has no input {name!r}; it takes {names}.")
        arrays = {}
        for name, one in arguments.items():
            check(name in rows, f"{self.file.name} takes {names}; pass {name}= too.")
            array, shape = np.asarray(rows[name]), tuple(one["shape"])
            check(
                array.shape[1:] == shape and array.ndim == len(shape) + 1,
                f"{name}: the shape {list(array.shape)} does not fit; give rows [B, {', '.join(map(str, shape))}], as "
                "the run's store has them.",
            )
            check(
                np.can_cast(array.dtype, one["dtype"]),
                f"{name}: the array is {array.dtype}, and the program takes {one['dtype']}; convert it.",
            )
            arrays[name] = array.astype(one["dtype"])
        counts = {len(array) for array in arrays.values()}
        check(len(counts) == 1, f"The inputs have {' and '.join(map(str, sorted(counts)))} rows; give as many of each.")
        return arrays


def load_program(directory: str | os.PathLike[str], input: str | None = None) -> LoadedProgram:
    """Return a program of an export with the format "stablehlo".

    Args:
      directory: of the export.
      input: whose features it gives, such as "image+table"; it can be left out if the export has one program.

    Returns:
      A function of NumPy arrays, which runs on the default device of JAX.

    Raises:
      UserError: the folder has no such program, a file is damaged, or this version of JAX does not read the file.

    Example:
      >>> program = mj.load_program("release", "image")  # doctest: +SKIP
      >>> program(image=np.zeros((3, 128, 128, 3), np.uint8))["features"].shape  # doctest: +SKIP
      (3, 2048)
    """
    folder = Path(directory)
    check((folder / CARD).is_file(), f"{folder} is no export of mmcl export (it has no {CARD}).")
    fault = damage(folder)
    check(fault is None, f"{fault}: {_REMEDY}.")
    card: _Card = read_written(folder / CARD, Annotated[_Card, Open], _REMEDY)
    with reading(folder / CARD, _REMEDY):
        made = [one for one in card["files"] if one.get("format") == "stablehlo"]
        programs: dict[str, dict[str, Any]] = {as_type(_Program, one)["input"]: one for one in made}
        if any(Path(one["file"]).name != one["file"] for one in made):
            raise ValueError("it names a file outside of its folder")
    check(bool(programs), f"{folder} has no program in StableHLO; make one with mmcl export --format stablehlo.")
    names = ", ".join(programs)
    check(input is not None or len(programs) == 1, f"{folder} has programs of {names}; name one as input.")
    name = next(iter(programs)) if input is None else input
    check(name in programs, f"{folder} has no program of {name!r}; it has those of {names}.")
    details, command = programs[name], card["provenance"]["command"]
    file = folder / details["file"]
    return LoadedProgram(file, details, card["preprocessing"], _deserialized(file, details, command))


def _deserialized(file: Path, details: Mapping[str, Any], command: str) -> export.Exported:
    with reading(file, _REMEDY):
        blob = bytearray(file.read_bytes())
    found = importlib.util.find_spec("flatbuffers") is not None
    check(found, f"JAX reads {file} with the package flatbuffers; run pip install flatbuffers.")
    try:
        exported = export.deserialize(blob)
        version = exported.calling_convention_version
        oldest = export.minimum_supported_calling_convention_version
        newest = export.maximum_supported_calling_convention_version
        if not oldest <= version <= newest:
            raise ValueError(f"its calling convention is {version}, and {oldest} to {newest} are supported")
        with jax.enable_x64(details["needs_x64"]):
            jax.jit(exported.call).lower(_arguments(details))  # reads the operators, which have versions, too
    except Exception as error:  # JAX promises no type: ValueError, AssertionError and errors of MLIR occur
        raise refused(file, details, command, error) from error
    return exported


def _arguments(details: Mapping[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    return {
        name: jax.ShapeDtypeStruct((1, *one["shape"]), np.dtype(one["dtype"]))
        for name, one in details["arguments"].items()
    }


def _padded(rows: np.ndarray) -> np.ndarray:
    """Return the rows with rows of zeros behind them, a power of two in all."""
    padding = (1 << (len(rows) - 1).bit_length()) - len(rows)
    return np.concatenate([rows, np.zeros((padding, *rows.shape[1:]), rows.dtype)])
