"""A run of an earlier version becomes one of today's: its config and schema in today's words, all else as it is."""

import json
from pathlib import Path

from mmcl_jax.data.schema import Schema
from mmcl_jax.files import CHECKSUMS, write_checksums, write_text
from mmcl_jax.lock import locked
from mmcl_jax.training.runs.renamed import translated
from mmcl_jax.training.runs.run import Run

_DESCRIPTION = (
    "config.json",
    "store.json",
    "schema.json",
    "statistics.json",
    "declaration.json",
    "encoding.json",
    "imputer.npz",
    "seen.npz",
)


def upgrade_run(directory: Path) -> bool:
    """Rewrite `config.json` with today's keys and `schema.json` as named entries; return whether that was to be done.

    Both are read in their old form too, so a call that was killed leaves a run that works, and the next one finishes
    it. Checkpoints, metrics and what was fitted on the training rows stay as they are.

    Raises:
      UserError: it is no run, damaged, or being trained.
    """
    Run.open(directory)
    with locked(directory / "lock.json", what=f"trains in {directory}"):
        texts = {name: (directory / name).read_text() for name in ("config.json", "schema.json")}
        config = json.loads(texts["config.json"])
        today = {"schema.json": Schema.from_json(texts["schema.json"]).to_json()}
        if translated(config) != config:
            today["config.json"] = json.dumps(translated(config), indent=2) + "\n"
        changed = [name for name, text in today.items() if text != texts[name]]
        sums = directory / CHECKSUMS
        if not changed and sums.is_file():
            return False
        named = json.loads(sums.read_text()) if sums.is_file() else _DESCRIPTION
        sums.unlink(missing_ok=True)  # a run without checksums is taken as it is, wherever a kill comes
        for name in changed:
            write_text(directory / name, today[name])
        write_checksums(directory, [path for name in named if (path := directory / name).is_file()])
    return True
