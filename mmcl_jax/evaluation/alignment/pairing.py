"""Which encoders are the two sides of a run, by which projectors they are compared, and which term aligns them."""

import dataclasses
from collections.abc import Sequence

from mmcl_jax.encoders import parse_key
from mmcl_jax.encoders.fusions import parts_of_views
from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.sources.pairs import compared
from mmcl_jax.objectives import Objective, build_objective
from mmcl_jax.training.runs.run import Run

IMAGES, TEXTS = ("image",), ("text",)


@dataclasses.dataclass(frozen=True)
class Keys:
    """The keys of the projectors of an encoder's features; "" where it has none."""

    pooled: str = ""
    local: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairing:
    """The two sides of a run.

    Attributes:
      image: the encoder of images; "" for a run without.
      report: the encoder of texts; "" for a run without.
      objective: of the run.
      keys: of the projectors, by encoder.
      term: key of the term that aligns regions with sentences in the objective; "" without.
    """

    image: str
    report: str
    objective: Objective
    keys: dict[str, Keys]
    term: str = ""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The encoders, the image first."""
        return tuple(filter(None, (self.image, self.report)))

    def of(self, modality: str) -> Keys:
        """Return the keys of the projectors of an encoder."""
        return self.keys.get(modality, Keys())


def pairing_of(run: Run, inputs: Sequence[str] = ()) -> Pairing:
    """Return the sides of a run: the encoders that are named, or its first of an image and its first of a text.

    Args:
      run: with the encoders.
      inputs: names of one or two encoders: one of an image, one of a text, or one of each.

    Raises:
      UserError: an encoder is unknown, two are of one kind, or none is of an image or a text.
    """
    specs, encoders = run.inputs.specs, list(run.config.encoders)
    of_kind = {name: specs[name].kind for name in encoders if name in specs}
    for name in inputs:
        check_name(name, encoders, f"--input: {run.directory} has no encoder of", "it has those of")
        check(
            of_kind.get(name) in (*IMAGES, *TEXTS),
            f"--input {name}: its encoder reads no image and no text, which this command compares; name another.",
        )
    chosen = {name: of_kind[name] for name in (inputs or of_kind)}
    sides = []
    for kinds in (IMAGES, TEXTS):
        names = [name for name, kind in chosen.items() if kind in kinds]
        check(
            len(names) < 2 or not inputs,
            f"--input: {' and '.join(names)} are both of the kind {kinds[0]}; name one of each kind.",
        )
        sides.append(names[0] if names else "")
    image, report = sides
    check(
        bool(image or report),
        f"--run: {run.directory} has no encoder of an image and none of a text, which this command compares.",
    )
    modalities = {name: view.modality for name, view in run.config.views.items()}
    parts = parts_of_views(run.config.views)
    objective = build_objective(
        run.config.objective, modalities, parts=parts, schema=run.inputs.schema, inputs=run.inputs.specs
    )
    term, local = _aligning(objective, image, report)
    return Pairing(
        image=image,
        report=report,
        objective=objective,
        keys={name: Keys(pooled=_pooled(run, name), local=_local(run, name, local)) for name in filter(None, sides)},
        term=term,
    )


def _aligning(objective: Objective, image: str, report: str) -> tuple[str, dict[str, str]]:
    """Return the term whose layer "align" reads local features of both sides, and their keys by encoder."""
    for key, term in objective.terms.items():
        if "align" not in term.layers or not all(read.local for read in term.reads):
            continue
        keys = {parse_key(one).modality: one for one in map(objective.key, term.between)}
        if set(keys) == {image, report}:
            return key, keys
    return "", {}


def _pooled(run: Run, modality: str) -> str:
    """Return the projector by which a term compares the pooled features, or the first of the encoder."""
    for pair in compared(run.config, run.inputs):
        for key in pair:
            if parse_key(key).modality == modality and key in run.config.projectors:
                return key
    own = [key for key in run.config.projectors if (one := parse_key(key)).modality == modality and not one.local]
    return own[0] if own else ""


def _local(run: Run, modality: str, aligned: dict[str, str]) -> str:
    """Return the projector of the local features that the alignment reads, or the first of the encoder."""
    if modality in aligned:
        return aligned[modality] if aligned[modality] in run.config.projectors else ""
    own = [key for key in run.config.projectors if (one := parse_key(key)).modality == modality and one.local]
    return own[0] if own else ""
