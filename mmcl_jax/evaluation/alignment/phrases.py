"""Phrases as one-sentence reports."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.format.format3 import LIKE
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.heads.encoded import IDS
from mmcl_jax.text import brief
from mmcl_jax.training.runs.run import Run


def rows_of(run: Run, modality: str, phrases: Sequence[str], option: str) -> dict[str, np.ndarray]:
    """Return phrases as rows of the input that a text encoder reads: each a report of one sentence.

    Args:
      run: with the tokenizer of its store.
      modality: the encoder of texts.
      phrases: n texts.
      option: what errors call them.

    Returns:
      Tokens `[n, T, 2]` int32 under the name of the modality, where T is the length of the stored reports, and `id`.

    Raises:
      UserError: the run has no tokenizer, `tokenizers` is not installed, or a phrase has no token or too many.
    """
    spec = run.inputs.specs[modality]
    path = run.directory / LIKE / f"tokenizer.{spec.of}.json"
    check(
        path.is_file(),
        f"{option}: {run.directory} has no tokenizer of {spec.of!r} ({LIKE}/{path.name}), since its store was not made "
        "by mmcl prepare from texts; leave phrases out.",
    )
    try:
        tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(str(path))
    except ImportError as error:
        raise UserError(f'{option}: tokenizers is not installed; run pip install "mmcl_jax[text]".') from error
    length = spec.shape[0]
    rows = np.full((len(phrases), length, 2), -1, np.int32)
    for row, phrase in enumerate(phrases):
        tokens = tokenizer.encode(phrase, add_special_tokens=False).ids
        check(len(tokens) > 0, f"{option}: {brief(phrase)} has no words.")
        check(
            len(tokens) <= length,
            f"{option}: {brief(phrase)} has {len(tokens)} tokens, and a report of this store has at most {length}; "
            "shorten it.",
        )
        rows[row, : len(tokens), 0], rows[row, : len(tokens), 1] = tokens, 0
    return {modality: rows, IDS: np.arange(len(phrases), dtype=np.uint32)}


def read_prompts(given: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return label, prompt and prompt of its absence, from texts `LABEL=PROMPT|PROMPT OF ABSENCE`.

    A text without a bar is the label alone or with its prompt; the absence is then "no PROMPT". Underscores of a label
    become spaces in its prompt.

    Raises:
      UserError: a text is none of these, or a label is named twice.

    Example:
      >>> read_prompts(["pleural_effusion", "edema=pulmonary edema|the lungs are clear"])[0]
      ('pleural_effusion', 'pleural effusion', 'no pleural effusion')
    """
    pairs: list[tuple[str, str, str]] = []
    for text in given:
        label, _, prompts = text.partition("=")
        label = label.strip()
        positive, bar, negative = (prompts or label.replace("_", " ")).partition("|")
        positive, negative = positive.strip(), negative.strip()
        check(
            bool(label and positive) and (bool(negative) or not bar),
            f"--prompts: {brief(text)} is no label, and not of the form LABEL=PROMPT|PROMPT OF ABSENCE.",
        )
        check(
            all(label != other for other, *_ in pairs), f"--prompts: the label {label!r} is named twice; name it once."
        )
        pairs.append((label, positive, negative or f"no {positive}"))
    return pairs


def labelled(store: Store, names: Sequence[str]) -> list[Any]:
    """Return the columns of labels with these names, each of which must be yes or no.

    Raises:
      UserError: the store has no such label, or it has other classes than two.
    """
    columns = {column.name: column for column in store.schema.labels}
    for name in names:
        check(
            name in columns,
            f"--prompts: the store {store.directory} has no label {name!r}; it has {', '.join(columns) or 'none'}.",
        )
        check(
            len(columns[name].categories) == 2,
            f"--prompts: the label {name!r} has the classes {', '.join(columns[name].categories) or 'of a number'}; a "
            "pair of prompts is for a label that is yes or no.",
        )
    return [columns[name] for name in names]
