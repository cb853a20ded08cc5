"""What is done already: one JSON per finished training and per finished evaluation, each there whole or not at all."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.files import write_text


def digest(value: Any) -> str:
    """Return eight characters that identify these settings."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(record, indent=2) + "\n")


def read(path: Path) -> dict[str, Any] | None:
    """Return the record, None if it is missing."""
    return json.loads(path.read_text()) if path.is_file() else None


def write_scores(path: Path, settings: dict[str, Any], scores: Sequence[Score], seconds: float) -> None:
    """Write an evaluation."""
    record = {"settings": settings, "seconds": round(seconds, 2), "scores": [score.to_json() for score in scores]}
    write(path, record)


def scores_of(record: dict[str, Any]) -> list[Score]:
    """Return the scores of an evaluation."""
    return [Score.from_json(raw) for raw in record["scores"]]
