"""The attention weights of a fusion, as maps over the grid of an image."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from mmcl_jax.encoders import Model, parse_key
from mmcl_jax.encoders.fusions import part_of, parts_of_views
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import ViewSpec, built, features_of, plain_spec, plain_values
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain.base import METHODS, Subject
from mmcl_jax.explain.columns import Columns
from mmcl_jax.explain.embedded import padded
from mmcl_jax.text import first_few
from mmcl_jax.training.mesh import by_example, local_mesh, replicated

CLASS_TOKEN = "class token"
_ROWS = 32  # that are encoded together


@dataclasses.dataclass(frozen=True)
class AttendingFusion:
    """A fusion whose last part attends to the regions of an image.

    Attributes:
      name: of the fusion.
      of: the texts of its parts, such as ("image.local", "table.local").
      image: index of the part whose tokens are the regions.
      input: the input of the last part.
      others: names of further fusions of the run that attend to the image.
    """

    name: str
    of: tuple[str, ...]
    image: int
    input: str
    others: tuple[str, ...]

    @property
    def is_local(self) -> bool:
        """Whether the last part has several tokens."""
        return bool(parse_key(self.of[-1]).local)


def fusion_of(source: Source, input: str) -> AttendingFusion:
    """Return the first fusion of a run with attention to the local features of an input.

    Raises:
      UserError: the run has none.
    """
    views = source.run.config.views
    found = []
    for view, of in parts_of_views(views).items():
        keys = [parse_key(text) for text in of]
        inputs = [views[key.modality].modality for key in keys]
        images = [at for at, (key, name) in enumerate(zip(keys, inputs, strict=True)) if key.local and name == input]
        if images and images[0] < len(of) - 1 and _attends(source.model, views[view].modality):
            found.append((views[view].modality, of, images[0], inputs[-1]))
    fusions = sorted({views[view].modality for view in parts_of_views(views)})
    words = ", ".join(f"{name} ({source.run.config.encoders[name].name})" for name in fusions)
    check(
        len(found) > 0,
        f"--method attention: no fusion of this run attends to the regions of {input!r} (its fusions: "
        f"{words or 'none'}); train one with the encoder cross_attention and a view such as "
        f"fused(of=('{input}.local', 'table.local')), or use another method: "
        f"{', '.join(sorted(set(METHODS) - {'attention'}))}.",
    )
    first, *others = found
    return AttendingFusion(*first, tuple(dict.fromkeys(name for name, *_ in others if name != first[0])))


def _attends(model: Model, fusion: str) -> bool:
    return hasattr(model.encoders[fusion], "attended")


def token_names(subject: Subject, fusion: AttendingFusion, count: int) -> tuple[list[str], np.ndarray]:
    """Return the names of the tokens of the last part, and their columns `[count]`, -1 for a token of no column."""
    if not fusion.is_local:
        return [f"the whole {fusion.input}"], np.full(1, -1)
    columns = subject.source.model.encoders[fusion.input].local_columns
    if columns is None:
        return [f"{fusion.input} {index + 1}" for index in range(count)], np.full(count, -1)
    run = subject.source.run
    names = Columns.of(run.inputs, run.inputs.specs[fusion.input], fusion.input, subject.store).names
    return [CLASS_TOKEN if column < 0 else names[column] for column in columns], np.array(columns)


@dataclasses.dataclass(frozen=True)
class _Program:
    """What the compiled program of the maps depends on, besides shapes.

    Attributes:
      graphdef: of the model.
      fusion: which one.
      input: the image.
      spec: the plain view of the fusion.
      blocks: "mean" over all blocks, or the "last".
    """

    graphdef: nnx.GraphDef
    fusion: AttendingFusion
    input: str
    spec: ViewSpec
    blocks: str

    def __call__(self, state: nnx.State, rows: dict[str, Array], fitted: Any) -> dict[str, Array]:
        """Return the view of the images, the maps `[B, K, h, w]` of K tokens, and the missing cells of a table."""
        encoders, behind = nnx.merge(self.graphdef, state).encoders, dict(dict(self.spec)["views"])
        views = plain_values((self.spec,), rows, fitted)
        features = features_of(encoders, views, train=False)
        specs = [behind[parse_key(text).modality] for text in self.fusion.of]
        parts = [
            part_of(features[spec], local=bool(parse_key(text).local))
            for text, spec in zip(self.fusion.of, specs, strict=True)
        ]
        _, weights = encoders[self.fusion.name].attended(tuple(parts))
        looks = jnp.stack(weights[-1:] if self.blocks == "last" else weights).mean(axis=(0, 2))
        image = parts[self.fusion.image]
        assert image.grid is not None  # the features of an image have a grid
        first = sum(part.tokens.shape[1] for part in parts[: self.fusion.image])
        maps = looks[:, :, first : first + image.tokens.shape[1]]
        result = {"view": views[specs[self.fusion.image]], "maps": maps.reshape(*maps.shape[:2], *image.grid)}
        if built(specs[-1]).takes == "table":
            result["missing"] = jnp.isnan(views[specs[-1]])
        return result


@functools.lru_cache(maxsize=16)
def _compiled(program: _Program) -> Callable[..., dict[str, Array]]:
    return jax.jit(program)


def blocks_of(subject: Subject, fusion: AttendingFusion) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Yield the explained rows in blocks of one compiled shape, divided over the devices, with their maps.

    Raises:
      UserError: an input has several images per row.
    """
    run, model = subject.source.run, subject.source.model
    names = subject.source.inputs_of([fusion.name])
    several = [name for name in names if run.schema.entries[run.inputs.specs[name].of].pictures > 1]
    check(
        not several,
        f"--method attention: rows of {first_few(several)} have several images; it explains rows with one image.",
    )
    graphdef, state = nnx.split(model)
    spec = plain_spec(run.config, fusion.name)
    program = _compiled(_Program(graphdef, fusion, subject.input, spec, subject.options.attention))
    mesh = local_mesh(_ROWS)
    fitted = {name: dict(run.inputs.fitted.get(name, {})) for name in names}
    state, fitted = jax.device_put((state, fitted), replicated(mesh))
    for first in range(0, len(subject.rows), _ROWS):
        block = slice(first, min(first + _ROWS, len(subject.rows)))
        indices = padded(subject.rows[block], _ROWS)
        rows = jax.device_put(subject.taken(names, indices), by_example(mesh))
        found = jax.device_get(program(state, rows, fitted))
        yield block, {name: values[: block.stop - block.start] for name, values in found.items()}
