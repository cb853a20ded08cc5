"""From what was found to `findings.json` and the data card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.data.schema import Schema
from mmcl_jax.prepare.card import render_card
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.inspection import Inspected
from mmcl_jax.prepare.leaks import near_twins
from mmcl_jax.prepare.pictures.pixels import Pixels
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.recipe import Recipe
from mmcl_jax.prepare.table.rows import Rows

_CONTACT_SHEET = 24


def report(rows: Rows, found: Inspected, quarantine: Quarantine, recipe: Recipe | None, *, seed: int) -> Findings:
    """What the table says, with what a random forest gets from it."""
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
    """Adds what the images say: facts, and nearly equal ones in different splits.

    Args:
      findings: to add to.
      rows: of the table.
      found: the rows that are kept.
      pixels: the images that were decoded.
      thumbs: their thumbnails `[N, THUMB, THUMB]`.
      given: whether the splits were given, and not drawn.
    """
    image = pixels.spec
    findings.images.update(
        files=pixels.files,
        stored=" x ".join(map(str, image.stored)),
        fit=image.fit,
        sizes=[[f"{height} x {width}", count] for (height, width), count in pixels.decoded.sizes.most_common(8)],
    )
    thumbs = thumbs[np.searchsorted(pixels.places, found.rows)]
    split_of = {int(row): split for split, members in found.splits.items() for row in members}
    for one, other, difference in near_twins(thumbs, found.splits):
        first, second = (rows.keys[found.rows[row]] for row in (one, other))
        findings.twins.append(
            {
                "first": first,
                "second": second,
                "splits": [split_of[one], split_of[other]],
                "difference": round(difference, 2),
            }
        )
    if findings.twins:
        remedy = "--group-near-duplicates keeps such pictures in one split"
        if given:
            remedy = f"{remedy}, where the splits are drawn and not given"
        findings.warnings.insert(
            0,
            f"{len(findings.twins)} pairs of nearly equal images are in different splits: results will flatter; "
            f"{remedy}.",
        )


def card(findings: Findings, schema: Schema, train: Mapping[str, Any], quarantine: Quarantine) -> str:
    """The data card, with a contact sheet of images spread over the arrays of the training split."""
    count = len(train["id"])
    label = schema.label
    pictures = []
    for place in np.linspace(0, count - 1, min(count, _CONTACT_SHEET)).astype(int):
        image = train["image"][place]
        code = int(train["label"][place]) if label else -1
        caption = label.categories[code] if label and code >= 0 else f"row {train['id'][place] + 1}"
        pictures.append((caption, image[0] if image.ndim == 4 else image))
    entries = [entry._asdict() for entry in quarantine.entries]
    return render_card(findings, title=Path(findings.source).stem, pictures=pictures, quarantine=entries)
