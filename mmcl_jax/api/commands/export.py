"""`mj.export`: the encoders of a run, for use without mmcl_jax."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from mmcl_jax.api.given import AnyPath, command_of, path_of, several
from mmcl_jax.bucket.border import addressed
from mmcl_jax.compilation import use_cache
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.kept import KeptHead, load_head, name_of
from mmcl_jax.export.folder import check_formats, check_out, write_release
from mmcl_jax.export.hub import check_push, uploaded
from mmcl_jax.export.release import Weights, release_of
from mmcl_jax.text import visible
from mmcl_jax.training.runs.run import Checkpoint, Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """An export that was written.

    Attributes:
      directory: the folder.
      files: in the folder, as the formats wrote them.
      step: of the checkpoint; None for a head on untrained encoders.
      weights: which weights it holds: "last", "average", "initial" or "fine-tuned".
      address: of the repository that it was uploaded to; None without an upload.
    """

    directory: Path
    files: tuple[str, ...]
    step: int | None
    weights: Weights
    address: str | None = None

    def __str__(self) -> str:
        files = ", ".join((*self.files, "card.json", "README.md"))
        where = f"\nUploaded to {self.address}." if self.address else ""
        return f"Written to {visible(self.directory)}: {files}.{where}"


@addressed(reads=("run", "head"), writes=("out",))
def export(
    run: Run | AnyPath,
    *,
    out: AnyPath,
    format: str | Iterable[str] = ("safetensors",),
    input: str | Iterable[str] = (),
    head: KeptHead | AnyPath | None = None,
    checkpoint: Checkpoint | None = None,
    average: bool | None = None,
    license: str | None = None,
    push: str | None = None,
    public: bool = False,
) -> Exported:
    """Write the encoders of a run into a folder that other programs, and model hubs, can use.

    The same from the command line: `mmcl export --run RUN --out OUT`, with the same options. The folder also gets
    `card.json` (architecture, preprocessing, metrics and provenance) and a `README.md`.

    Args:
      run: opened, or its folder.
      out: the folder of the export, new or empty, or with an earlier export, which is replaced.
      format: "safetensors" (weights, and modules in PyTorch that load them), "orbax" (parameters alone, for Flax),
        "stablehlo" (a function of raw arrays, for JAX), "onnx" (the same, for onnxruntime), or several formats.
      input: the inputs whose encoders are exported, such as "image" or "image+table"; by default each of the run.
      head: of `evaluate(keep=True)`, or its folder, which is exported with the encoders that it reads.
      checkpoint: "latest", "best" (the lowest validation loss) or a step; by default that of an opened run, and else
        the latest.
      average: True for the averages of the weights, False for the last weights; by default what is evaluated, the
        averages where the run has them.
      license: of the weights, as hubs write it, such as "apache-2.0"; the README states none by default.
      push: the repository of a model hub, OWNER/NAME, that the folder is uploaded to.
      public: whether a repository that the upload makes is public.

    Returns:
      The folder and its files.

    Raises:
      UserError: a format, input or head does not fit the run, or the folder cannot be written; nothing is written.
        Or the upload failed; the folder is complete.

    Example:
      >>> mj.export("runs/ads", out="release", format=["safetensors", "orbax"])  # doctest: +SKIP
    """
    use_cache()
    arguments, names = locals(), tuple(dict.fromkeys(several(format)))
    check_formats(names)
    folder = path_of(out, "--out")
    check_out(folder)
    check(not public or push is not None, "--public: nothing is uploaded without --push; add it, or leave this out.")
    if push is not None:
        check_push(push)
    opened = run if isinstance(run, Run) else Run.open(path_of(run, "--run"))
    kept = None
    if head is not None:
        check(checkpoint is None, "--checkpoint: the head names its checkpoint; leave the option out.")
        kept = head if isinstance(head, KeptHead) else load_head(path_of(head, "--head"), opened)
    elif checkpoint is not None:
        opened = opened.at(checkpoint)
    release = release_of(opened, inputs=several(input), head=kept, average=average)
    if isinstance(head, KeptHead):  # which does not know its folder
        arguments["head"] = name_of(head.of, head.score.draw)
    card = write_release(release, names, folder, command=command_of(export, arguments), license=license)
    address = None if push is None else uploaded(folder, push, private=not public)
    files = tuple(one["file"] for one in card["files"])
    return Exported(directory=folder, files=files, step=release.step, weights=release.weights, address=address)
