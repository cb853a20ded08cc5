"""`mj.explain`: which columns and which pixels matter."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from mmcl_jax.api.given import AnyPath, command_of, path_of, several
from mmcl_jax.bucket.border import addressed
from mmcl_jax.compilation import use_cache
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.kept import load_head
from mmcl_jax.explain.base import ExplainOptions
from mmcl_jax.explain.result import FOLDER, Explanation
from mmcl_jax.explain.run import explain_run
from mmcl_jax.targets import check_folder
from mmcl_jax.text import called
from mmcl_jax.training.runs.run import Checkpoint, Run

_DEFAULT = ExplainOptions()


@dataclasses.dataclass(frozen=True, repr=False)
class Explanations(Sequence[Explanation]):
    """A sequence of explanations, which print as tables of ranked columns."""

    explanations: tuple[Explanation, ...]

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> "Explanations": ...
    def __getitem__(self, index: int | slice) -> "Explanation | Explanations":
        """Return an explanation, or some of them."""
        return Explanations(self.explanations[index]) if isinstance(index, slice) else self.explanations[index]

    def __len__(self) -> int:
        return len(self.explanations)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.explanations)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of every `explanation.json`, with its folder."""
        return {"explanations": [{"directory": called(one.directory), **one.about} for one in self]}

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.explanations))


@addressed(raw=("groups", "atlas", "atlas_names"), reads=("head", "store"), writes=("run", "out"))
def explain(
    run: Run | AnyPath,
    *,
    method: str | Iterable[str] = _DEFAULT.methods,
    input: str | Iterable[str] = _DEFAULT.inputs,
    head: AnyPath | None = None,
    output: str | None = _DEFAULT.output,
    checkpoint: Checkpoint | None = None,
    store: Store | AnyPath | None = None,
    split: str = _DEFAULT.split,
    rows: int = _DEFAULT.rows,
    baseline: str = _DEFAULT.baseline,
    steps: int | None = _DEFAULT.steps,
    max_steps: int = _DEFAULT.max_steps,
    tolerance: float = _DEFAULT.tolerance,
    groups: AnyPath | None = None,
    top: int = _DEFAULT.top,
    replacement: str = _DEFAULT.replacement,
    reference: int = _DEFAULT.reference,
    reference_split: str = _DEFAULT.reference_split,
    term: str | None = _DEFAULT.term,
    loss: str = _DEFAULT.loss,
    temperature: float | None = _DEFAULT.temperature,
    balance: float | None = _DEFAULT.balance,
    noise_samples: int = _DEFAULT.noise_samples,
    noise_std: float = _DEFAULT.noise_std,
    individuals: str | Iterable[str] = _DEFAULT.individuals,
    layer: int | None = _DEFAULT.layer,
    interpolation: str = _DEFAULT.interpolation,
    attention: str = _DEFAULT.attention,
    dimension: int | Iterable[int] = _DEFAULT.dimensions,
    partner: str | None = _DEFAULT.partner,
    text: str | None = _DEFAULT.text,
    show_text: bool = _DEFAULT.show_text,
    directions: int = _DEFAULT.directions,
    atlas: AnyPath | None = None,
    atlas_names: AnyPath | None = None,
    out: AnyPath | None = None,
) -> Explanations:
    """Explain the encoders of a run, a kept head, or the loss: which columns matter, and which pixels.

    The same from the command line: `mmcl explain --run RUN`, with the same options. Every method and input gets a
    folder `METHOD-INPUT` of its own, which `mmcl_jax.explain` describes.

    Args:
      run: the run, opened or its folder.
      method: "integrated_gradients" (of every dimension of the embedding, as in Hager et al., CVPR 2023, section 3.2),
        "ablation" (what changes when a group of columns is replaced), "loss" (integrated gradients of the loss against
        a fixed reference batch, as in Taleb et al., CVPR 2022, section 3.3, to columns and to pixels), "grad_cam" and
        "guided_grad_cam" (pixels that speak for an output of a head), "saliency" (the gradients of every latent
        dimension, or of a head, by the pixels), "canonical" (the pixels behind what two modalities share), "attention"
        (where the columns of a table look in an image, in a fusion by attention), "sentences" (the regions of an image
        that the sentences of its report point at), or several of them. With `text`, the default is "sentences".
      input: inputs of the run to explain; by default all of the kinds that the method takes.
      head: folder of a head that `mmcl evaluate --keep` saved; its outputs are explained in place of the embedding.
      output: the class of the head whose logit is explained, with its sign, or "predicted" for that of every row; by
        default the mean over the absolute values of all outputs and, of Grad-CAM, the predicted class. Grad-CAM takes
        "not LABEL" for a label that is yes or no.
      checkpoint: "latest", "best" (the lowest validation loss) or a step; by default that of an opened run, and else
        the latest.
      store: with the rows; by default the one that the run was trained on.
      split: whose rows are explained.
      rows: number of rows to explain; if the split has more, they are drawn at random, always the same.
      baseline: start of the path of integrated gradients: "zero" (the paper's) or "mean" (over the training rows), in
        the space of one-hot columns or of token vectors.
      steps: number of steps of the path; by default the smallest power of two, from 8 up, that reaches the tolerance,
        and 50 for "loss", as in ContIG's released explainer.
      max_steps: the largest number of steps that is tried.
      tolerance: largest completeness error, relative to the change of the outputs.
      groups: a JSON file, `{"GROUP": ["COLUMN", ...]}`; by default the first tag of each column is its group.
      top: number of columns in the plot, or of overlays.
      replacement: what "ablation" puts in place of a group: "mean" (of the training rows), "zero", or "permuted"
        (values of other rows).
      reference: size of the reference batch of "loss".
      reference_split: whose rows are the reference batch; it must be another split than `split`.
      term: the term of the objective that "loss" explains, such as "clip/image-table"; by default the whole objective.
      loss: "released", the loss of ContIG's released explainer (temperature 1, both directions weighted alike, of terms
        that have these options), or "training", that of the run.
      temperature: of the terms that "loss" explains, whatever `loss` says.
      balance: weight of the first direction of these terms, from 0 to 1, whatever `loss` says.
      noise_samples: draws of noise on the explained input over which "loss" averages attributions, and "saliency" and
        "canonical" gradients (SmoothGrad); 0 for none. The paper's figures have the 5 of captum's NoiseTunnel.
      noise_std: standard deviation of the noise, in the units of what the encoder reads; captum's is 1.
      individuals: keys of rows whose highest and lowest features "loss" shows, by default the first three; or whose
        sentences "sentences" shows, by default the first `top`.
      layer: the stage of the encoder whose maps Grad-CAM reads, from 0; -1 is the last. By default the last stage from
        which the outputs are computed: of a Vision Transformer the patches that enter its last block.
      interpolation: how guided Grad-CAM enlarges its maps to the image, "bilinear" or "nearest" (captum's default).
      attention: whether "attention" shows the "mean" over all blocks of the fusion, or the "last" block.
      dimension: indices of the latent dimensions that "saliency" explains, from 0, by default all; or the one whose
        pixels "integrated_gradients" explains.
      partner: the input whose embedding "canonical" compares the explained input with; by default the only other.
      text: a phrase, such as "left pleural effusion", whose map over an image "sentences" draws in place of those of
        the sentences: the image of `individuals`, or else the one that is most like the phrase.
      show_text: whether "sentences" shows the words of reports, which may be private; by default their numbers alone.
      directions: number of canonical directions.
      atlas: a NIfTI file with the numbers of regions, in the grid of the explained volumes: methods on volumes rank its
        regions by the density of their maps.
      atlas_names: the names of these regions: a text file, whose first line is "index", a tab and "name", with a line
        per region.
      out: folder of the explanations; by default `explanations` in the folder of the run.

    Returns:
      The explanations; they print as tables, and `Explanation.to_frame()` is a polars data frame with a row per column.

    Raises:
      UserError: an option is unknown or out of range, the method does not take the input, or no row has the input.

    Example:
      >>> (importance,) = mj.explain("runs/ads")  # doctest: +SKIP
      >>> importance.to_frame().head(3)  # doctest: +SKIP
    """
    use_cache()
    arguments = dict(locals())
    opened = run if isinstance(run, Run) else Run.open(path_of(run, "--run"))
    kept, name = None, ""
    if head is not None:
        check(
            checkpoint is None, "--checkpoint: a head belongs to the checkpoint that it was trained on; leave it out."
        )
        path = path_of(head, "--head")
        kept, name = load_head(path, opened), path.resolve().name
    elif output is not None:
        check(False, "--output: this chooses an output of a head; give --head.")
    if checkpoint is not None:
        opened = opened.at(checkpoint)
    folder = opened.directory / FOLDER if out is None else path_of(out, "--out")
    check_folder(folder, "--out")
    if not isinstance(store, Store):
        store = Store.open(path_of(store, "--store")) if store is not None else opened.store()
    methods = several(method)
    if text is not None:
        check(bool(text.strip()), '--text: give words, such as --text "left pleural effusion".')
        methods = ("sentences",) if methods == _DEFAULT.methods else methods
    options = ExplainOptions(
        methods=methods,
        inputs=several(input),
        output=output,
        split=split,
        rows=rows,
        baseline=baseline,
        steps=steps,
        max_steps=max_steps,
        tolerance=tolerance,
        top=top,
        replacement=replacement,
        reference=reference,
        reference_split=reference_split,
        term=term,
        loss=loss,
        temperature=temperature,
        balance=balance,
        noise_samples=noise_samples,
        noise_std=noise_std,
        individuals=several(individuals),
        layer=layer,
        interpolation=interpolation,
        attention=attention,
        dimensions=several(dimension),
        partner=partner,
        text=text,
        show_text=show_text,
        directions=directions,
        atlas=None if atlas is None else Path(path_of(atlas, "--atlas")),
        atlas_names=None if atlas_names is None else Path(path_of(atlas_names, "--atlas-names")),
    )
    explanations = explain_run(
        opened,
        store,
        options,
        folder=folder,
        head=kept,
        head_name=name,
        groups=None if groups is None else Path(path_of(groups, "--groups")),
        command=command_of(explain, arguments),
    )
    return Explanations(tuple(explanations))
