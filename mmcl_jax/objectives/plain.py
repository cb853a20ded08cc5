"""A term called on plain arrays: what is given is read, checked and named as its stages want it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from mmcl_jax.arrays import ArrayError, ArrayLike, as_array, as_floats
from mmcl_jax.encoders import Features
from mmcl_jax.objectives.stages import Sizes, Targets
from mmcl_jax.views import Viewed


def read_rows(**given: Any) -> tuple[dict[str, Any], int]:
    """Return trees of arrays `[B, ...]`, by the names of arguments, as arrays of JAX, and B.

    Raises:
      ArrayError: nothing is given, or the arrays differ in their number of rows.
    """
    read: dict[str, Any] = {}
    rows = None
    for name, tree in given.items():
        leaves, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda one: isinstance(one, list))
        named = [(f"{name}{jax.tree_util.keystr(path)}", values) for path, values in leaves]
        arrays = [as_array(values, path) for path, values in named]
        for (path, _), array in zip(named, arrays, strict=True):
            if array.ndim == 0:
                raise ArrayError(f"{path} is a number; give an array [rows, ...].")
            rows = rows or (path, len(array))
            if len(array) != rows[1]:
                raise ArrayError(f"{path} has {len(array)} rows and {rows[0]} has {rows[1]}; give the same rows.")
        read[name] = jax.tree.unflatten(structure, arrays)
    if rows is None:
        raise ArrayError("no array is given; give those that the term compares.")
    return read, rows[1]


def read_embeddings(term: str, name: str, arrays: tuple[Any, ...], between: tuple[str, ...]) -> tuple[Array, ...]:
    """Return one array `[B, d]` for each text of `between`.

    Raises:
      ArrayError: there are more or fewer of them, or they differ in their shapes.
    """
    if len(arrays) != len(between):
        raise ArrayError(f"{term} takes {len(between)} {name} [rows, width], not {len(arrays)}.")
    found = tuple(as_floats(array, name) for array in arrays)
    for array in found:
        if array.ndim != 2 or array.shape != found[0].shape:
            shapes = " and ".join(str(array.shape) for array in found)
            raise ArrayError(f"{term} takes {name} [rows, width] of one shape, not {shapes}.")
    return found


def read_features(term: str, arrays: tuple[Any, ...], between: tuple[str, ...]) -> tuple[Features, ...]:
    """Return features for each text of `between`: of pooled arrays `[B, D]`, or local ones `[B, L, C]`.

    Raises:
      ArrayError: there are more or fewer of them, or an array has another number of axes.
    """
    if len(arrays) != len(between):
        raise ArrayError(f"{term} takes the features of {', '.join(between)}, not {len(arrays)} arrays.")
    found = []
    for array in arrays:
        if not isinstance(array, Features):
            array = as_floats(array, "features")
            if array.ndim not in (2, 3):
                raise ArrayError(f"features have the shape {array.shape}; give [rows, width] or [rows, places, width].")
            local = array if array.ndim == 3 else None
            array = Features(pooled=array if local is None else local.mean(axis=1), local=local)
        found.append(array)
    return tuple(found)


def sizes_of(features: tuple[Features, ...]) -> tuple[Sizes, ...]:
    """Return the widths of features that are also what is compared."""
    found = []
    for one in features:
        local = 0 if one.local is None else one.local.shape[-1]
        found.append(Sizes(pooled=one.pooled.shape[-1], local=local, embedding=local or one.pooled.shape[-1]))
    return tuple(found)


def read_targets(
    term: str, names: tuple[str, ...], labels: ArrayLike | None, targets: Mapping[str, ArrayLike] | None
) -> Targets:
    """Return the targets that a term reads, by name, of `labels` where it reads one.

    Raises:
      ArrayError: they are not given, more is given, or labels are no integers.
    """
    given = dict(targets or {})
    if labels is not None:
        if len(names) != 1 or given:
            reads = f"reads the targets {', '.join(names)}; give targets" if names else "reads no labels; give none"
            raise ArrayError(f"{term} {reads}.")
        read = as_array(labels, "labels")
        if not jnp.issubdtype(read.dtype, jnp.integer) or read.ndim != 1:
            raise ArrayError(f"labels are {read.dtype} {read.shape}; give one integer for each row, -1 for missing.")
        given = {names[0]: read.astype(jnp.int32)}
    lacking = [name for name in names if name not in given]
    if lacking:
        raise ArrayError(f"{term} reads labels; give labels=, one integer for each row, -1 for missing.")
    return {name: as_array(values, f"target {name!r}") for name, values in given.items()}


def read_present(present: ArrayLike | None) -> Bool[Array, "B"] | None:
    """Return which rows are present.

    Raises:
      ArrayError: the array is not of booleans.
    """
    if present is None:
        return None
    found = as_array(present, "present")
    if found.dtype != jnp.bool_ or found.ndim != 1:
        raise ArrayError(f"present is {found.dtype} {found.shape}; give one boolean for each row.")
    return found


def viewed(views: Any) -> tuple[Viewed, ...]:
    """Return views, of which plain arrays give the values alone."""
    several = views if isinstance(views, tuple) else (views,)
    return tuple(view if isinstance(view, Viewed) else Viewed(as_array(view, "views")) for view in several)
