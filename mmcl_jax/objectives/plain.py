"""The arguments of a term that is called on plain arrays: converted, checked, and named as its stages read them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from mmcl_jax.arrays import ArrayError, ArrayLike, as_array, as_floats
from mmcl_jax.encoders import Features
from mmcl_jax.objectives.stages import Sizes, Targets
from mmcl_jax.views import Viewed


def read_rows(**arguments: Any) -> tuple[dict[str, Any], int]:
    """Return the arguments, trees of arrays `[B, ...]`, as JAX arrays, and the number of rows B.

    Raises:
      ArrayError: there is no array, or the arrays differ in their number of rows.
    """
    read: dict[str, Any] = {}
    rows = None
    for name, tree in arguments.items():
        leaves, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: isinstance(node, list))
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
        raise ArrayError("the term got no array; give the arrays that it compares.")
    return read, rows[1]


def read_embeddings(term: str, name: str, arrays: tuple[Any, ...], between: tuple[str, ...]) -> tuple[Array, ...]:
    """Return one array `[B, d]` for each text of `between`.

    Raises:
      ArrayError: the number of arrays is another than that of the texts, or the arrays differ in shape.
    """
    if len(arrays) != len(between):
        raise ArrayError(f"{term} takes {len(between)} arrays of {name} [rows, width], not {len(arrays)}.")
    embeddings = tuple(as_floats(array, name) for array in arrays)
    for array in embeddings:
        if array.ndim != 2 or array.shape != embeddings[0].shape:
            shapes = " and ".join(str(array.shape) for array in embeddings)
            raise ArrayError(f"{term} takes {name} [rows, width] of one shape, not {shapes}.")
    return embeddings


def read_features(term: str, arrays: tuple[Any, ...], between: tuple[str, ...]) -> tuple[Features, ...]:
    """Return the features for each text of `between`, from pooled arrays `[B, D]` or local arrays `[B, L, C]`.

    Raises:
      ArrayError: the number of arrays is another than that of the texts, or an array has neither two nor three axes.
    """
    if len(arrays) != len(between):
        raise ArrayError(f"{term} takes the features of {', '.join(between)}, not {len(arrays)} arrays.")
    features = []
    for array in arrays:
        if not isinstance(array, Features):
            array = as_floats(array, "features")
            if array.ndim not in (2, 3):
                raise ArrayError(
                    f"features have the shape {array.shape}; give [rows, width] or [rows, locations, width]."
                )
            local = array if array.ndim == 3 else None
            array = Features(pooled=array if local is None else local.mean(axis=1), local=local)
        features.append(array)
    return tuple(features)


def sizes_of(features: tuple[Features, ...], views: Any = ()) -> tuple[Sizes, ...]:
    """Return the widths of features that are compared without a projector, and the shapes of their views, if given.

    Raises:
      ArrayError: there are views, and not one for each of the features.
    """
    shapes = [view.values.shape[1:] for view in viewed(views)] or [()] * len(features)
    if len(shapes) != len(features):
        raise ArrayError(
            f"there are {len(features)} arrays of features and {len(shapes)} of views; give one view each."
        )
    sizes = []
    for given, shape in zip(features, shapes, strict=True):
        local, pooled = 0 if given.local is None else given.local.shape[-1], given.pooled.shape[-1]
        sizes.append(Sizes(pooled=pooled, local=local, embedding=local or pooled, view=shape))
    return tuple(sizes)


def read_targets(
    term: str, names: tuple[str, ...], labels: ArrayLike | None, targets: Mapping[str, ArrayLike] | None
) -> Targets:
    """Return the targets that a term reads, by name; `labels` stands for the target of a term that reads one.

    Raises:
      ArrayError: a target is missing, `labels` stands beside `targets`, or the labels are no integers.
    """
    arrays = dict(targets or {})
    if labels is not None:
        if not names:
            raise ArrayError(f"{term} reads no labels; leave labels out.")
        if len(names) != 1 or arrays:
            raise ArrayError(f"{term} reads the targets {', '.join(names)}; give all in targets=, and no labels=.")
        read = as_array(labels, "labels")
        if not jnp.issubdtype(read.dtype, jnp.integer) or read.ndim != 1:
            raise ArrayError(f"labels are {read.dtype} {read.shape}; give one integer for each row, -1 for missing.")
        arrays = {names[0]: read.astype(jnp.int32)}
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ArrayError(f"{term} reads labels; give labels=, one integer for each row, -1 for missing.")
    return {name: as_array(values, f"target {name!r}") for name, values in arrays.items()}


def read_present(present: ArrayLike | None) -> Bool[Array, "B"] | None:
    """Return the mask of the rows that are present.

    Raises:
      ArrayError: the array is not of booleans.
    """
    if present is None:
        return None
    mask = as_array(present, "present")
    if mask.dtype != jnp.bool_ or mask.ndim != 1:
        raise ArrayError(f"present is {mask.dtype} {mask.shape}; give one boolean for each row.")
    return mask


def viewed(views: Any) -> tuple[Viewed, ...]:
    """Return each of the views as a `Viewed`; a plain array is its values."""
    several = views if isinstance(views, tuple) else (views,)
    return tuple(view if isinstance(view, Viewed) else Viewed(as_array(view, "views")) for view in several)
