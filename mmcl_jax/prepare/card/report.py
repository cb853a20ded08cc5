"""Collecting the findings of `prepare`, and making the data card from them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.format.content import Part
from mmcl_jax.data.schema import Schema
from mmcl_jax.page.wording import category, number, share
from mmcl_jax.prepare.assemble import Assembled, described
from mmcl_jax.prepare.card import render_card
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.card.glance import facts, glances, grey_or_colour
from mmcl_jax.prepare.entries.columns import is_column
from mmcl_jax.prepare.entries.matrix import Matrix
from mmcl_jax.prepare.gather import GatheredEntries
from mmcl_jax.prepare.images.pixels import Pixels
from mmcl_jax.prepare.inspection import Inspected
from mmcl_jax.prepare.join.joined import Joined
from mmcl_jax.prepare.leaks import near_duplicates
from mmcl_jax.prepare.quarantine import Quarantine, QuarantineEntry
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.table.rows import Rows

_CONTACT_SHEET = 24  # images
_COLUMNS = 60  # of a further table, that are listed


def report(rows: Rows, inspected: Inspected, quarantine: Quarantine, recipe: Recipe | None, *, seed: int) -> Findings:
    """Return the findings on the table, with the scores of a random forest that predicts the labels from it."""
    return Findings(
        source=Path(rows.source).name,
        rows=rows.total,
        kept=len(inspected.rows),
        lost=quarantine.causes(),
        steps=[step._asdict() for step in recipe.steps] if recipe else [],
        columns=inspected.columns(rows),
        splits={split: len(members) for split, members in inspected.splits.items()},
        subsets={name: len(members) for name, members in inspected.subsets.items()},
        labels=inspected.balance,
        warnings=list(inspected.warnings),
        forest=inspected.forests(seed),
    )


def add_images(
    findings: Findings, rows: Rows, inspected: Inspected, pixels: Pixels, thumbs: np.ndarray, *, splits_given: bool
) -> None:
    """Add the findings on the images: facts about the files, and near duplicates in different splits.

    Args:
      findings: the findings to add to.
      rows: the rows of the table.
      inspected: the rows that are in the store, and their splits.
      pixels: the decoded images.
      thumbs: the thumbnails of these images, `[N, THUMB, THUMB]`.
      splits_given: whether the table or a file gives the splits; if not, they were drawn.
    """
    image = pixels.spec
    at = pixels.at(inspected.rows)
    with_image = np.flatnonzero(at >= 0)
    findings.images.update(
        files=pixels.files,
        stored=" x ".join(map(str, image.stored)),
        fit=image.fit,
        sizes=[[f"{height} x {width}", count] for (height, width), count in pixels.decoded.sizes.most_common(8)],
    )
    split_of = {int(row): split for split, members in inspected.splits.items() for row in members}
    members = {split: np.flatnonzero(np.isin(with_image, rows_of)) for split, rows_of in inspected.splits.items()}
    for first_at, second_at, difference in near_duplicates(thumbs[at[with_image]], members):
        first, second = int(with_image[first_at]), int(with_image[second_at])
        findings.near_duplicates.append(
            {
                "first": rows.keys[inspected.rows[first]],
                "second": rows.keys[inspected.rows[second]],
                "splits": [split_of[first], split_of[second]],
                "difference": round(difference, 2),
            }
        )
    if findings.near_duplicates:
        remedy = "--group-near-duplicates keeps such images in one split"
        if splits_given:
            remedy = f"{remedy} if the splits are drawn, but these were given"
        findings.warnings.insert(
            0,
            f"{len(findings.near_duplicates)} pairs of near-duplicate images are in different splits, so results "
            f"will look better than they are; {remedy}.",
        )


def add_entries(findings: Findings, gathered: GatheredEntries, assembled: Assembled, quarantine: Quarantine) -> None:
    """Add the findings on the entries of the store, and warnings about entries that no row of a split has."""
    content = assembled.content
    where = {name: _origin(joined) for name, joined in gathered.join.entries.items()}
    source = Path(gathered.rows.source).name
    where |= dict.fromkeys(gathered.join.main, source)
    files = [source] if gathered.rows.named("label") else []
    files += [where[name] for name, joined in gathered.join.entries.items() if is_column(joined)]
    where["labels"] = ", ".join(dict.fromkeys(files))
    findings.entries.extend(described(content, where))
    labels = [label.name for label in (*gathered.rows.named("label"), *gathered.targets)]
    for entry in findings.entries:
        entry.update(facts(content, entry["name"]))
        causes = [quarantine.causes_of(name) for name in (labels if entry["name"] == "labels" else [entry["name"]])]
        entry["bad"] = dict(sum(map(Counter, causes), Counter[str]()))
        joined = gathered.join.entries.get(entry["name"])
        if joined is not None and isinstance(joined.content, Matrix) and joined.content.facts:
            entry["genotypes"] = joined.content.facts
        if entry["name"] in assembled.facts:
            entry["text"] = assembled.facts[entry["name"]]
        if content.parts[entry["name"]].entry.kind == "table" and entry["name"] in gathered.join.entries:
            entry["columns"] = _columns(content.parts[entry["name"]])
    for entry in findings.entries:
        for split, rows in entry["splits"].items():
            if not rows and entry["role"] == "input":
                findings.warnings.append(f"No row of {split} has the entry {entry['name']!r}.")
    findings.warnings.extend([*gathered.join.warnings, *assembled.warnings])


def foreseen(gathered: GatheredEntries, rows: np.ndarray) -> list[dict[str, Any]]:
    """Return the findings on the entries before any image is decoded, as `prepare --check` prints them."""
    joined = gathered.join
    present = {name: mask[rows] for name, mask in joined.main.items()}
    present |= {name: entry.at[rows] >= 0 for name, entry in joined.entries.items() if not is_column(entry)}
    findings: list[dict[str, Any]] = []
    for name, mask in present.items():
        source = joined.entries[name].source if name in joined.entries else None
        kind = source.kind if source else "image" if name == gathered.main.image else "table"
        target = source is not None and joined.entries[name].is_target
        findings.append(
            {
                "name": name, "kind": kind, "role": "target" if target else "input", "stored": "", "dtype": "",
                "rows": int(mask.sum()), "missing": int((~mask).sum()), "of": source.of if source else "", "names": [],
            }
        )  # fmt: skip
    return findings


def _origin(joined: Joined) -> str:
    """Return the name of the file or folder that an entry comes from."""
    if files := joined.source.genotype_files():
        return files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    path = joined.source.file if joined.source.folder is None else joined.source.folder
    return "" if path is None else path.name


def _columns(part: Part) -> list[dict[str, Any]]:
    """Return the findings on the columns of a further table."""
    findings = []
    for index, column in enumerate(part.entry.columns[:_COLUMNS]):
        values = part.values[:, index]
        present = values[~np.isnan(values)]
        if column.coded:
            counts = np.bincount(present[present >= 0].astype(int), minlength=len(column.categories))
            order = np.argsort(-counts, kind="stable")[:3]
            spread = ", ".join(
                f"{category(column.categories[code])} {share(counts[code], len(present))}" for code in order
            )
        else:
            ends = f"{number(present.min())} … {number(present.max())}" if len(present) else ""
            spread = f"{ends} (mean {number(present.mean())})" if len(present) else "–"
        missing = float(np.isnan(values).mean()) if len(values) else 0.0
        findings.append({"name": column.name, "kind": column.kind, "missing": missing, "values": spread})
    return findings


def _codes(part: Part, schema: Schema) -> np.ndarray | None:
    """Return the class codes `[N]` of the first label with classes; -1 for rows without a value."""
    at = np.arange(len(part.values)) if part.at is None else part.at
    return schema.codes(np.where((at < 0)[:, None], np.nan, part.values[at]))


def card(findings: Findings, schema: Schema, assembled: Assembled, quarantine: Sequence[QuarantineEntry]) -> str:
    """Return the data card, with a contact sheet of images spread over the training split."""
    content, label = assembled.content, schema.label
    images = []
    name = schema.first("image")
    if name is not None:
        part, train = content.parts[name], content.splits["train"]
        first = np.arange(len(content.id)) if part.at is None else part.at if part.at.ndim == 1 else part.at[:, 0]
        train = train[first[train] >= 0]
        labels = schema.first("table", "target")
        codes = _codes(content.parts[labels], schema) if labels and label else None
        for index in np.linspace(0, len(train) - 1, min(len(train), _CONTACT_SHEET)).astype(int):
            row = train[index]
            code = -1 if codes is None else int(codes[row])
            caption = label.categories[code] if label and code >= 0 else f"row {content.id[row] + 1}"
            images.append((caption, grey_or_colour(np.asarray(part.values[first[row]]))))
    entries = [entry._asdict() for entry in quarantine]
    shown = {entry: glance for entry, glance in glances(content, assembled.texts).items() if entry != name}
    title = Path(findings.source).stem
    return render_card(findings, title=title, images=images, quarantine=entries, glances=shown)
