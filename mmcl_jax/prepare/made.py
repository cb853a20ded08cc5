"""Named data sets whose recipe makes the content of the store itself, such as pairs of images that share arrays."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmcl_jax.data.engines.engine import Processes
from mmcl_jax.data.format import writing
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.schema import Column, Entry
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.prepare import audit
from mmcl_jax.prepare.assemble import Assembled, described
from mmcl_jax.prepare.card.findings import ColumnFinding, Findings
from mmcl_jax.prepare.card.report import card
from mmcl_jax.prepare.make import claimed
from mmcl_jax.prepare.recipe import Step
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.splits.subsets import standard_subsets
from mmcl_jax.progress import Bar

_HEEDED = ("subsets", "seed")  # the fields of a request that say something about such a data set
_LABELS = "labels"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """A named data set as the content of a store, with one class label.

    Attributes:
      name: of the data set.
      content: of the store: its rows are those of train, then val, then test.
      sources: by entry, where it comes from, in words.
      steps: by which the rows were made.
      notes: sentences that a user should read, which come first on the data card.
      options: of the recipe, as "key=value".
    """

    name: str
    content: Content
    sources: Mapping[str, str]
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def check(self, request: Request) -> None:
        """Raise `UserError` if a field of a request, such as a size of images, has no meaning for this data set."""
        default = Request()
        for field in dataclasses.fields(Request):
            option = f"--{field.name.replace('_', '-')}"
            check(
                field.name in _HEEDED or getattr(request, field.name) == getattr(default, field.name),
                f"{option}: the data set {self.name} is made as its paper says, and this option would change nothing; "
                "leave it out.",
            )

    def with_subsets(self, request: Request) -> Content:
        """Return the content with the low-label subsets that the request asks for."""
        content = self.content
        (column,) = content.parts[_LABELS].entry.columns
        codes = content.parts[_LABELS].values[:, 0].astype(np.int64)
        drawn = standard_subsets(content.splits, codes, len(column.categories), request.subsets, seed=request.seed)
        return dataclasses.replace(content, subsets={**content.subsets, **drawn})

    def findings(self, content: Content) -> Findings:
        """Return the findings of `prepare` on the content."""
        (column,) = content.parts[_LABELS].entry.columns
        labels = content.parts[_LABELS].values
        counts = np.bincount(labels[:, 0].astype(int), minlength=len(column.categories))
        top = sorted(zip(column.categories, counts.tolist(), strict=True), key=lambda one: -one[1])
        image = next((part.entry for part in content.parts.values() if part.entry.kind == "image"), None)
        return Findings(
            source=self.name,
            rows=len(content.id),
            kept=len(content.id),
            steps=[step._asdict() for step in self.steps],
            columns=[
                ColumnFinding(
                    name=column.name, role="label", kind=column.kind, distinct=int((counts > 0).sum()), top=top
                )
            ],
            entries=described(content, self.sources),
            splits={split: len(rows) for split, rows in content.splits.items()},
            subsets={name: len(rows) for name, rows in content.subsets.items()},
            labels=audit.balance(labels, (column,), content.splits),
            images={} if image is None else {"stored": " x ".join(map(str, image.stored)), "fit": image.fit},
            warnings=list(self.notes),
        )


def labels_part(column: Column, codes: np.ndarray) -> Part:
    """Return the target of one class label with the codes `[N]` of all rows."""
    return Part(entry=Entry.table((column,), role="target"), values=codes.astype(np.float64)[:, None])


def preview_made(request: Request, made: Made) -> Findings:
    """Return the findings of `write_made` without writing a file. Raises `UserError` as it does."""
    made.check(request)
    return made.findings(made.with_subsets(request))


def write_made(request: Request, made: Made, out: Path, *, workers: int = 1, progress: bool = False) -> Store:
    """Write the store `out` of a data set, which appears complete or not at all.

    Args:
      request: the seed and shares of low-label subsets; its other fields must be as by default.
      made: the data set.
      out: the folder of the store; it must not exist.
      workers: processes that write the shards.
      progress: whether to show a progress bar.

    Raises:
      UserError: the folder exists, or the request has a field that would change nothing.
    """
    check(not out.exists(), f"{out} exists already; choose another --out, or remove it first.")
    made.check(request)
    content = made.with_subsets(request)
    partial = out.with_name(f".{out.name}.partial")
    # Nothing of an unfinished folder is used again, so any text that names the request will do.
    identity = hashlib.sha256(repr([made.name, made.options, len(content.id)]).encode()).hexdigest()
    with claimed(partial, identity):
        with Bar("shards", len(content.id), quiet=not progress) as bar:
            schema = writing.write(
                partial, content, description=f"{made.name}.", engine=Processes(workers), progress=bar.advance
            )
        findings = made.findings(content)
        assembled = Assembled(content=content, left_out={}, texts={}, warnings=[])
        (partial / "findings.json").write_text(findings.to_json())
        (partial / "card.html").write_text(card(findings, schema, assembled, ()))
        (partial / "quarantine.jsonl").write_text("")
        (partial / "request.sha256").unlink()
        origin = {"name": made.name, "options": list(made.options)}
        writing.finish(partial, made_by={"request": request.to_json(), "recipe": origin})
        partial.rename(out)
    return Store.open(out)
