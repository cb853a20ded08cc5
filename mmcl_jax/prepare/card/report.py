"""From what was found to `findings.json` and the data card."""

from collections import Counter
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
from mmcl_jax.prepare.gather import GatheredEntries
from mmcl_jax.prepare.images.pixels import Pixels
from mmcl_jax.prepare.inspection import Inspected
from mmcl_jax.prepare.join.joined import Joined
from mmcl_jax.prepare.leaks import near_duplicates
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.table.rows import Rows

_CONTACT_SHEET = 24
_COLUMNS = 60  # of a further table


def report(rows: Rows, found: Inspected, quarantine: Quarantine, recipe: Recipe | None, *, seed: int) -> Findings:
    """Report on the table, and on how well a random forest predicts the labels from it."""
    return Findings(
        source=Path(rows.source).name,
        rows=rows.total,
        kept=len(found.rows),
        lost=quarantine.causes(),
        steps=[step._asdict() for step in recipe.steps] if recipe else [],
        columns=found.columns(rows),
        splits={split: len(members) for split, members in found.splits.items()},
        subsets={name: len(members) for name, members in found.subsets.items()},
        labels=found.balance,
        warnings=list(found.warnings),
        forest=found.forests(seed),
    )


def add_images(
    findings: Findings, rows: Rows, found: Inspected, pixels: Pixels, thumbs: np.ndarray, *, given: bool
) -> None:
    """Add what the images show: facts, and nearly equal images in different splits.

    Args:
      findings: to add to.
      rows: of the table.
      found: the rows that are kept.
      pixels: the images that were decoded.
      thumbs: their thumbnails `[N, THUMB, THUMB]`.
      given: whether the splits were given, and not drawn.
    """
    image = pixels.spec
    at = pixels.at(found.rows)
    there = np.flatnonzero(at >= 0)
    findings.images.update(
        files=pixels.files,
        stored=" x ".join(map(str, image.stored)),
        fit=image.fit,
        sizes=[[f"{height} x {width}", count] for (height, width), count in pixels.decoded.sizes.most_common(8)],
    )
    split_of = {int(row): split for split, members in found.splits.items() for row in members}
    members = {split: np.flatnonzero(np.isin(there, rows_of)) for split, rows_of in found.splits.items()}
    for first_at, second_at, difference in near_duplicates(thumbs[at[there]], members):
        one, other = int(there[first_at]), int(there[second_at])
        first, second = (rows.keys[found.rows[row]] for row in (one, other))
        findings.near_duplicates.append(
            {
                "first": first,
                "second": second,
                "splits": [split_of[one], split_of[other]],
                "difference": round(difference, 2),
            }
        )
    if findings.near_duplicates:
        remedy = "--group-near-duplicates keeps such images in one split"
        if given:
            remedy = f"{remedy}, where the splits are drawn and not given"
        findings.warnings.insert(
            0,
            f"{len(findings.near_duplicates)} pairs of nearly equal images are in different splits: results will "
            f"flatter; {remedy}.",
        )


def add_entries(findings: Findings, gathered: GatheredEntries, assembled: Assembled, quarantine: Quarantine) -> None:
    """Add what there is to say about the entries of the store, and about the rows that lack some."""
    content = assembled.content
    where = {name: _origin(one) for name, one in gathered.join.entries.items()}
    source = Path(gathered.rows.source).name
    where |= dict.fromkeys(gathered.join.main, source)
    files = [source] if gathered.rows.named("label") else []
    files += [where[name] for name, one in gathered.join.entries.items() if is_column(one)]
    where["labels"] = ", ".join(dict.fromkeys(files))
    findings.entries.extend(described(content, where))
    labels = [one.name for one in (*gathered.rows.named("label"), *gathered.targets)]
    for entry in findings.entries:
        entry.update(facts(content, entry["name"]))
        causes = [quarantine.causes_of(name) for name in (labels if entry["name"] == "labels" else [entry["name"]])]
        entry["bad"] = dict(sum(map(Counter, causes), Counter[str]()))
        if content.parts[entry["name"]].entry.kind == "table" and entry["name"] in gathered.join.entries:
            entry["columns"] = _columns(content.parts[entry["name"]])
    for entry in findings.entries:
        for split, rows in entry["splits"].items():
            if not rows and entry["role"] == "input":
                findings.warnings.append(f"No row of {split} has the entry {entry['name']!r}.")
    findings.warnings.extend([*gathered.join.warnings, *assembled.warnings])


def foreseen(gathered: GatheredEntries, kept: np.ndarray) -> list[dict[str, Any]]:
    """Return the findings on the entries that are known before anything is decoded."""
    joined = gathered.join
    there = {name: mask[kept] for name, mask in joined.main.items()}
    there |= {name: one.at[kept] >= 0 for name, one in joined.entries.items() if not is_column(one)}
    said: list[dict[str, Any]] = []
    for name, mask in there.items():
        source = joined.entries[name].source if name in joined.entries else None
        kind = source.kind if source else "image" if name == gathered.main.image else "table"
        target = source is not None and joined.entries[name].is_target
        said.append(
            {
                "name": name, "kind": kind, "role": "target" if target else "input", "stored": "", "dtype": "",
                "rows": int(mask.sum()), "missing": int((~mask).sum()), "of": source.of if source else "", "names": [],
            }
        )  # fmt: skip
    return said


def _origin(one: Joined) -> str:
    """Return the file or folder of an entry, without the folders above it."""
    path = one.source.file if one.source.folder is None else one.source.folder
    return "" if path is None else path.name


def _columns(part: Part) -> list[dict[str, Any]]:
    """Return the findings on the columns of a further table."""
    said = []
    for place, column in enumerate(part.entry.columns[:_COLUMNS]):
        values = part.values[:, place]
        known = values[~np.isnan(values)]
        if column.coded:
            counts = np.bincount(known.astype(int), minlength=len(column.categories))
            order = np.argsort(-counts, kind="stable")[:3]
            spread = ", ".join(
                f"{category(column.categories[code])} {share(counts[code], len(known))}" for code in order
            )
        else:
            spread = (
                f"{number(known.min())} … {number(known.max())} (mean {number(known.mean())})" if len(known) else "–"
            )
        missing = float(np.isnan(values).mean()) if len(values) else 0.0
        said.append({"name": column.name, "kind": column.kind, "missing": missing, "values": spread})
    return said


def _codes(part: Part, schema: Schema) -> np.ndarray | None:
    """Return codes `[N]` of the first label that is a class, -1 for none."""
    at = np.arange(len(part.values)) if part.at is None else part.at
    return schema.codes(np.where((at < 0)[:, None], np.nan, part.values[at]))


def card(findings: Findings, schema: Schema, assembled: Assembled, quarantine: Quarantine) -> str:
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
        for place in np.linspace(0, len(train) - 1, min(len(train), _CONTACT_SHEET)).astype(int):
            row = train[place]
            code = -1 if codes is None else int(codes[row])
            caption = label.categories[code] if label and code >= 0 else f"row {content.id[row] + 1}"
            images.append((caption, grey_or_colour(np.asarray(part.values[first[row]]))))
    entries = [entry._asdict() for entry in quarantine.entries]
    shown = {one: glance for one, glance in glances(content, assembled.texts).items() if one != name}
    title = Path(findings.source).stem
    return render_card(findings, title=title, images=images, quarantine=entries, glances=shown)
