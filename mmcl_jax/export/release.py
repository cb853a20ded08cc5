"""What is exported: a model with chosen weights, the inputs that it is exported for, and perhaps a head."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from flax import nnx

from mmcl_jax.encoders import Model, parse_key
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.protocols.made import encoders_of
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import Arrays, split_model

Weights = Literal["last", "average", "initial", "fine-tuned"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Release:
    """A model to export. A format writes it by reading these attributes alone.

    Attributes:
      run: of the model, at the exported checkpoint; its `inputs` turn raw rows into what the views read.
      step: of the checkpoint; None for initial weights.
      model: the model with the exported weights; its encoders are those that the head was trained with, if any.
      inputs: what the export is asked for, as `--input` names them, such as `("image", "image+table")`.
      head: a head of `mmcl evaluate --keep`, which reads the only input; None for features alone.
      weights: "last" (of the checkpoint), "average" (over the steps), "initial" (a head on an untrained encoder), or
        "fine-tuned" (with the head).
    """

    run: Run
    step: int | None
    model: Model
    inputs: tuple[str, ...]
    head: KeptHead | None
    weights: Weights

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities whose encoders are exported: those of the inputs, and those that their fusions read."""
        asked = [modality for one in self.inputs for modality in modalities_of(one)]
        views = self.run.config.views
        return tuple(dict.fromkeys(name for one in asked for name in (*inputs_of(views, one), one)))

    @property
    def sources(self) -> tuple[str, ...]:
        """The inputs of the experiment that the encoders read, such as `("image", "table")` for a fusion."""
        return tuple(name for name in self.modalities if name in self.run.config.inputs)

    @property
    def projectors(self) -> tuple[str, ...]:
        """The keys of the projectors of these modalities; () with fine-tuned encoders, which left them behind."""
        if self.weights == "fine-tuned":
            return ()
        return tuple(key for key in self.model.projectors if parse_key(key).modality in self.modalities)

    def arrays(self) -> tuple[Arrays, Arrays]:
        """Return the parameters and statistics of the exported encoders and projectors, as nested dicts."""
        names = {"encoders": self.modalities, "projectors": self.projectors}

        def part(tree: Arrays) -> Arrays:
            chosen = {
                kind: {name: tree[kind][name] for name in wanted if name in tree.get(kind, {})}
                for kind, wanted in names.items()
            }
            return {kind: modules for kind, modules in chosen.items() if modules}

        params, statistics = split_model(self.model)
        return part(params), part(statistics)


def release_of(
    run: Run, *, inputs: Sequence[str] = (), head: KeptHead | None = None, average: bool | None = None
) -> Release:
    """Return what an export of a run, or of a head on it, holds.

    Args:
      run: with the exported checkpoint.
      inputs: as `--input` names them; by default what the head reads, or each modality by itself.
      head: of `mmcl evaluate --keep`.
      average: whether to export the averages of the weights; None for them where the run has averages.

    Raises:
      UserError: an input has no encoder or is named twice, the head reads another input or raw values, the run has no
        averages, or no checkpoint that can be used.
    """
    has_average = bool(run.config.average.kind)
    check(
        has_average or not average,
        f"--average: {run.directory} does not average its weights (config.average.kind); leave the option out.",
    )
    asked = tuple(inputs) or (("+".join(head.trained.reads),) if head else tuple(run.config.encoders))
    asked = tuple("+".join(modalities_of(one)) for one in asked)  # "both" is image+table
    for one in asked:
        for modality in (names := modalities_of(one)):
            encoders = ", ".join(run.config.encoders)
            check(
                modality in run.config.encoders, f"--input: the run has no encoder of {modality!r}; it has {encoders}."
            )
            check(names.count(modality) == 1, f"--input {one}: {modality!r} is named twice; name it once.")
    check(len(set(asked)) == len(asked), "--input: an input is named twice; name it once.")
    if head is None:
        model = run.model() if average is None or average == has_average else run.model(average=False)
        weights: Weights = "last" if average is False or not has_average else "average"
        return Release(run=run, step=run.step(), model=model, inputs=asked, head=None, weights=weights)
    return _with_head(head, asked, average)


def _with_head(head: KeptHead, asked: tuple[str, ...], average: bool | None) -> Release:
    source, reads = head.source, "+".join(head.trained.reads)
    check(source.kind != "raw", f"--head: this head reads the raw values of {reads}, and no encoder; export needs one.")
    check(
        len(asked) == 1 and modalities_of(asked[0]) == head.trained.reads,
        f"--input {','.join(asked)}: the head reads {reads}; leave --input out.",
    )
    kind = {"unet": "a U-Net", "yolo": "a YOLO"}.get(head.trained.head.name, "")
    check(
        not kind,
        f"--head: this head is {kind} for {head.trained.task.label!r}, which is not exported; load_head(PATH) "
        "predicts with it, and mmcl export without --head writes the encoder of the run.",
    )
    check(average is None, "--average: the head decides which weights are exported; leave the option out.")
    weights: Weights = "average" if source.run.config.average.kind else "last"
    model, tuned = source.model, head.trained.encoder
    if source.kind == "random":
        weights = "initial"
    if tuned is not None:
        weights, model = "fine-tuned", nnx.clone(model)
        _, module = encoders_of(model, source.run.config, head.trained.reads)
        for tree in (tuned.params, tuned.statistics):
            state = nnx.state(module)
            nnx.replace_by_pure_dict(state, tree)
            nnx.update(module, state)
    step = None if source.kind == "random" else source.run.step()
    return Release(run=source.run, step=step, model=model, inputs=asked, head=head, weights=weights)
