"""The methods `grad_cam` and `guided_grad_cam`: which pixels speak for an output of a kept head."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import (
    ViewSpec,
    built,
    encoded,
    plain_spec,
    plain_values,
    views_of_inputs,
)
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.explain.base import METHODS, Result, Subject
from mmcl_jax.explain.embedded import padded
from mmcl_jax.explain.outputs import OtherFeatures, chosen_outputs, head_arrays, model_of
from mmcl_jax.explain.pictures.overlays import write_overlays
from mmcl_jax.explain.pictures.replay import guided_relu, has_relu, is_read, replay
from mmcl_jax.explain.pictures.stored import is_turned
from mmcl_jax.files import reserve
from mmcl_jax.page.wording import counted
from mmcl_jax.progress import Bar
from mmcl_jax.tasks import Class
from mmcl_jax.training.mesh import by_example, local_mesh, replicated

KINDS = ("image", "volume")
_ROWS = 32  # that are explained together
MAPS, GUIDED = "maps.npz", "guided.npy"


@METHODS.register("grad_cam", takes=KINDS, head="needed")
def grad_cam(subject: Subject, folder: Path) -> Result:
    """Explain an output of a head by Grad-CAM (Selvaraju et al., ICCV 2017).

    The map of a row is ReLU(sum_k a_k A_k), where A_k is a channel of a stage map, and a_k the mean over positions of
    the gradient of the output by A_k. `maps.npz` has the maps `[N, h, w]` at the resolution of the stage, with the
    keys of the rows and the indices of the explained outputs. The encoders are in evaluation mode.

    Raises:
      UserError: the head has no such output, or the encoder has no such stage.
    """
    return _explained(subject, folder, guided=False)


@METHODS.register("guided_grad_cam", takes=KINDS, head="needed")
def guided_grad_cam(subject: Subject, folder: Path) -> Result:
    """Explain an output of a head by guided Grad-CAM, as Hager et al. (CVPR 2023) do for images.

    The product of the Grad-CAM map, enlarged to the image, and of guided backpropagation: the gradient of the output by
    the pixels, in which every ReLU passes positive gradients alone. `guided.npy` has it, `[N, H, W, C]`, beside the
    maps of `grad_cam`. The paper names neither the stage nor the enlargement, and its released code has no explanation;
    `--interpolation nearest` is the default of captum, `bilinear` that of Grad-CAM's authors.

    Raises:
      UserError: the head has no such output, or the encoder has no such stage or no ReLU.
    """
    return _explained(subject, folder, guided=True)


@dataclasses.dataclass(frozen=True)
class _Program:
    """What the compiled program of the maps depends on, besides shapes.

    Attributes:
      graphdef: of the model.
      input: whose pixels are explained.
      reads: the modalities whose features the head reads.
      specs: their plain views.
      spec: the plain view of the input.
      head: on the features.
      layer: index of the stage; None for the last stage that the outputs of the head are computed from.
      guided: whether to compute guided Grad-CAM too.
      interpolation: of the maps to the size of the view.
    """

    graphdef: nnx.GraphDef
    input: str
    reads: tuple[str, ...]
    specs: tuple[ViewSpec, ...]
    spec: ViewSpec
    head: LinearHead
    layer: int | None
    guided: bool
    interpolation: str

    def view(self, rows: dict[str, Array], fitted: Any) -> Float[Array, "B *space C"]:
        """Return the plain view of stored rows."""
        return plain_values((self.spec,), rows, {self.input: fitted})[self.spec]

    def outputs(self, arrays: Any, embedded: Array, context: Any) -> tuple[Float[Array, "B K"], tuple[Array, ...]]:
        """Return the outputs of the head for embedded images, and the stage maps of the encoder.

        Raises:
          UserError: the encoder has no stage maps.
        """
        encoders = nnx.merge(self.graphdef, arrays["model"]).encoders
        own = encoders[self.input].features(embedded, train=False)
        check(own.stages is not None, f"--input {self.input}: its encoder has no stage maps, which Grad-CAM reads.")
        given = {**context["features"], self.input: own}
        features = {
            spec: given[name] for spec in views_of_inputs(self.specs) if (name := built(spec).modality) in given
        }
        parts = [
            context["pooled"][modality]
            if modality in context["pooled"]
            else encoded(encoders, modality, spec, features, train=False).pooled.astype(jnp.float32)
            for modality, spec in zip(self.reads, self.specs, strict=True)
        ]
        mean, scale, unit, shift = (arrays[name][None] for name in ("mean", "scale", "unit", "shift"))
        values = (jnp.concatenate(parts, axis=1) - mean) / scale
        return self.head(arrays["head"], values) * unit + shift, own.stages

    def __call__(
        self,
        arrays: Any,
        rows: dict[str, Array],
        fitted: Any,
        context: Any,
        chosen: Int[Array, "B"],
        sign: Float[Array, ""],
    ) -> dict[str, Array]:
        """Return the views, the maps, the index of their stage and, if asked for, the guided maps of rows.

        Raises:
          UserError: the encoder has no such stage, or no ReLU.
        """
        view = self.view(rows, fitted)
        embedded = nnx.merge(self.graphdef, arrays["model"]).encoders[self.input].embed(view)
        traced = jax.make_jaxpr(lambda x: self.outputs(arrays, x, context))(embedded)
        stage = 1 + self._stage([is_read(traced, output) for output in range(1, len(traced.out_avals))])

        def score(outputs: Array) -> Array:
            return sign * jnp.take_along_axis(outputs, chosen[:, None], axis=1).sum()

        def of_stage(change: Array) -> tuple[Array, Array]:
            outputs, *maps = replay(traced, embedded, added=(stage, change))
            return score(outputs), maps[stage - 1]

        like = traced.out_avals[stage]
        gradient, values = jax.grad(of_stage, has_aux=True)(jnp.zeros(like.shape, like.dtype))
        space = tuple(range(1, values.ndim - 1))
        weights = gradient.astype(jnp.float32).mean(axis=space, keepdims=True)
        maps = jax.nn.relu((weights * values.astype(jnp.float32)).sum(axis=-1))
        result = {"view": view, "maps": maps, "stage": jnp.full(len(maps), stage - 1)}
        if self.guided:
            check(
                has_relu(traced),
                f"--input {self.input}: its encoder has no ReLU, so guided backpropagation is the gradient; use the "
                "method grad_cam.",
            )
            slopes = jax.grad(lambda x: score(replay(traced, x, relu=guided_relu)[0]))(embedded)
            size = (len(maps), *view.shape[1:-1])
            method = {"nearest": "nearest", "bilinear": "linear"}[self.interpolation]
            result["guided"] = slopes.astype(jnp.float32) * jax.image.resize(maps, size, method)[..., None]
        return result

    def _stage(self, read: Sequence[bool]) -> int:
        """Return the index of the explained stage; `read` says from which stages the outputs are computed."""
        stages, computed = len(read), [stage for stage, is_read in enumerate(read) if is_read]
        check(
            len(computed) > 0,
            f"--input {self.input}: the outputs of the head are computed from no stage map of its encoder, which "
            "Grad-CAM reads.",
        )
        if self.layer is None:
            return computed[-1]
        check(
            -stages <= self.layer < stages,
            f"--layer: the encoder of {self.input!r} has the stages 0 to {stages - 1}, and no stage {self.layer}.",
        )
        check(
            read[self.layer],
            f"--layer: the outputs of the head are not computed from the stage {self.layer} of the encoder of "
            f"{self.input!r}; choose {' or '.join(map(str, computed))}.",
        )
        return self.layer % stages


@functools.lru_cache(maxsize=16)
def _compiled(program: _Program) -> Callable[..., dict[str, Array]]:
    return jax.jit(program)


def _explained(subject: Subject, folder: Path, *, guided: bool) -> Result:
    assert subject.head is not None
    chosen, sign, of = _score(subject)
    maps: list[np.ndarray] = []
    shown: list[dict[str, np.ndarray]] = []
    options, name = subject.options, "Guided Grad-CAM" if guided else "Grad-CAM"
    file: np.memmap | None = None
    with Bar(f"{name}: rows", len(subject.rows)) as bar:
        for block, result in _blocks(subject, chosen, sign, guided=guided):
            count, stage = block.stop - block.start, int(result.pop("stage")[0])
            maps.append(result["maps"][:count])
            if guided:
                values = result["guided"][:count]
                if file is None:
                    shape = (len(subject.rows), *values.shape[1:])
                    file = np.lib.format.open_memmap(folder / GUIDED, mode="w+", dtype=np.float32, shape=shape)
                    reserve(folder / GUIDED)
                file[block] = values
            few = range(min(count, options.top - len(shown)))
            shown.extend({name: values[index] for name, values in result.items()} for index in few)
            bar.advance(count)
    if file is not None:
        file.flush()
    every = np.concatenate(maps)
    np.savez(folder / MAPS, keys=np.array(subject.keys, dtype=str), maps=every, output=chosen)
    zero = int((every.reshape(len(every), -1).max(axis=1) <= 0).sum())
    notes = [f"{counted(zero, 'map')} of {len(every)} are zero: no position speaks for the output."] if zero else []
    task = subject.head.trained.task
    classes = subject.head.labels[task.label] if isinstance(task, Class) else ()
    ofs = [f"{task.label} {classes[code]}" if classes else of for code in chosen[: len(shown)]]
    titles = [f"{name} for {one}, row {key}" for one, key in zip(ofs, subject.keys, strict=False)]
    output = options.output or ("predicted" if classes else None)
    return Result(
        of=of,
        settings={"output": output, "layer": options.layer, "interpolation": options.interpolation},
        pictures=write_overlays(folder, shown, titles, upwards=is_turned(subject)),
        details={
            "stage": stage,
            "grid": list(every.shape[1:]),
            "zero": zero,
            "files": [MAPS, *([GUIDED] if guided else [])],
        },
        notes=notes,
    )


def _score(subject: Subject) -> tuple[np.ndarray, float, str]:
    """Return the index of the explained output of each row, 1 or -1 for its sign, and the output in words.

    A class has a logit of its own. A label that is yes or no has one, so "not LABEL" is explained by its negative.

    Raises:
      UserError: the head has no such output, or has several and none was chosen.
    """
    assert subject.head is not None
    task, output = subject.head.trained.task, subject.options.output
    check(
        subject.head.trained.head.reads == "pooled",
        "--head: this head predicts a mask from feature maps; explain a head on pooled features.",
    )
    if isinstance(task, Class):
        output = output or "predicted"
    elif output is None:
        check(task.outputs == 1, f"--output: the head for {task.label!r} has {task.outputs} outputs; choose one.")
        return np.zeros(len(subject.rows), np.int32), 1.0, f"the output for {task.label}"
    negative = not isinstance(task, Class) and output.startswith("not ") and output not in subject.head.labels
    asked = dataclasses.replace(subject.options, output=output.removeprefix("not ") if negative else output)
    indices, of = chosen_outputs(dataclasses.replace(subject, options=asked), subject.head)
    return indices, -1.0 if negative else 1.0, f"the negative of {of}" if negative else of


def _blocks(
    subject: Subject, chosen: np.ndarray, sign: float, *, guided: bool
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Yield the explained rows in blocks of one compiled shape, divided over the devices, with their maps."""
    assert subject.head is not None
    run, head, model = subject.source.run, subject.head, model_of(subject)
    check(
        run.schema.entries[subject.spec.of].pictures == 1,
        f"--input {subject.input}: its rows have several images; Grad-CAM explains inputs with one image per row.",
    )
    specs = tuple(plain_spec(run.config, modality) for modality in subject.reads)
    graphdef, state = nnx.split(model)
    program = _compiled(
        _Program(
            graphdef=graphdef,
            input=subject.input,
            reads=tuple(subject.reads),
            specs=specs,
            spec=plain_spec(run.config, subject.input),
            head=head.trained.head,
            layer=subject.options.layer,
            guided=guided,
            interpolation=subject.options.interpolation,
        )
    )
    mesh = local_mesh(_ROWS)
    width = sum(model.encoders[name].out_features for name in subject.reads)
    arrays = {"model": state, **head_arrays(head, width)}
    fitted = dict(run.inputs.fitted.get(subject.input, {}))
    arrays, fitted = jax.device_put((arrays, fitted), replicated(mesh))
    context = OtherFeatures(subject, model, batch_size=_ROWS)
    for first in range(0, len(subject.rows), _ROWS):
        block = slice(first, min(first + _ROWS, len(subject.rows)))
        indices = padded(subject.rows[block], _ROWS)
        rows = (subject.taken([subject.input], indices), padded(chosen[block], _ROWS))
        values, outputs = jax.device_put(rows, by_example(mesh))
        result = program(arrays, values, fitted, context(indices, mesh), outputs, jnp.float32(sign))
        yield block, jax.device_get(result)
