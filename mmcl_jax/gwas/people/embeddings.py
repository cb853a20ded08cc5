"""Embeddings of people: one sample of each person, as a run encodes it, and no person that the run was trained on."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.export.embeddings.encoders import check_name, readers
from mmcl_jax.export.embeddings.make import rows_of_chunk
from mmcl_jax.export.embeddings.stored import StoredRows, chunk_of
from mmcl_jax.gwas.people.tables import People
from mmcl_jax.progress import Bar
from mmcl_jax.text import brief
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.runs.seen import Seen

PERSON = r"^(?:left_|right_)?([^_.]+)"  # left_IID_..., as the recipe fundus names samples, or IID_...
_LEFT = re.compile("left", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Embedded:
    """Embeddings of people.

    Attributes:
      people: with a column per number of the embedding.
      counts: what became of the samples and people, by sentence.
      trained: people whom the run was trained on.
    """

    people: People
    counts: Mapping[str, int]
    trained: int


def embedded_people(
    run: Run,
    store: Store | None,
    *,
    split: str,
    select: str | None,
    person: str,
    input: str | None,
    allow_overlap: bool,
    untrained: bool = False,
) -> Embedded:
    """Return an embedding of every person.

    Args:
      run: whose encoder embeds.
      store: of the samples; None for the run's own.
      split: "train", "val", "test" or "all".
      select: a pattern that the key of a person's sample has; None for "left" where people have several samples.
      person: the pattern of the IID in the name of a sample's key, of which folders are left out.
      input: the encoder, such as "image"; None for the first one.
      allow_overlap: whether people whom the run was trained on may be among them.
      untrained: whether the encoder is that of the run before its training.

    Raises:
      UserError: the run was trained on some of the people; a person has several samples; or a pattern does not fit.
    """
    store, own = (run.store(), True) if store is None else (store, store.fingerprint == run.fingerprint)
    fold = run.inputs.fold
    splits = ("train", "val", "test") if split == "all" else (split,)
    pattern, chosen = _pattern(person, "--person"), None if select is None else _pattern(select, "--select")
    name = input or next(iter(run.config.encoders))
    check_name(run, name, "features")
    (reader,) = readers(Source("random" if untrained else "run", run), [name], "features", jax.local_devices())
    size = rows_of_chunk({one: run.inputs.specs[one] for one in reader.inputs})
    StoredRows(run, store, list(reader.inputs), split=None, size=size)  # checks that the store fits the run

    keys = {part: store.keys(part, fold if own else None) for part in splits}
    ids = {part: [person_of(key, pattern) for key in keys[part]] for part in splits}
    _check_groups(store, keys, ids, fold if own else None)
    taken = _one_each(keys, ids, chosen)
    trained = _trained_people(run, store, pattern, own=own)
    overlap = {ids[part][row] for part in splits for row in taken[part].tolist()} & trained
    remedy = "choose --split test of a store whose splits keep a person together, or add --allow-overlap"
    check(
        allow_overlap or not overlap,
        f"--run: {run.directory} was trained on {len(overlap):,} of the people, whose embeddings know their genotypes; "
        f"{remedy}.",
    )
    if not own and (seen := Seen.read(run.directory)) is not None and not allow_overlap:
        new = Seen.of(store, splits)
        common = sum(seen.common("train", new, part) for part in splits)
        check(
            common == 0, f"--store: {run.directory} was trained on {common:,} samples of {store.directory}; {remedy}."
        )

    values, families, lost = [], [], 0
    with Bar("samples", sum(map(len, taken.values()))) as bar:
        for part in splits:
            of = list(dict.fromkeys(run.inputs.specs[one].of for one in reader.inputs))
            entries = store.read(part, of, fold=fold if own else None)
            label = store.labels(part, fold=fold if own else None).get("label")
            at = store.lists.id[store.rows_of(part, fold if own else None)]
            for start in range(0, len(taken[part]), size):
                rows = taken[part][start : start + size]
                chunk = chunk_of(
                    run, store.schema, entries, list(reader.inputs), rows, keys=[keys[part][row] for row in rows],
                    ids=at[rows], label=label, split=part,
                )  # fmt: skip
                reasons = chunk.reasons(reader.inputs, reader.spare)
                kept = np.setdiff1d(np.arange(len(rows)), list(reasons)).astype(int)
                lost += len(reasons)
                if len(kept):
                    values.append(reader(chunk.given(reader.spare))[kept])
                    families += [ids[part][row] for row in rows[kept].tolist()]
                bar.advance(len(rows))
    check(bool(families), f"--run: no sample of {store.directory} could be embedded by {name!r}.")
    features = np.concatenate(values).astype(np.float64)
    finite = bool(np.isfinite(features).all())
    check(finite, f"The features that {run.directory} gives are not finite; choose an earlier --checkpoint.")
    samples = sum(map(len, keys.values()))
    counts = {
        f"samples of {split if split != 'all' else 'all splits'}": samples,
        "other samples of the same people": samples - sum(map(len, taken.values())),
        f"samples without {name!r}": lost,
    }
    names = tuple(f"F{index + 1}" for index in range(features.shape[1]))
    people = People(f"the embeddings of {run.directory}", tuple(families), tuple(families), names, features)
    return Embedded(people, counts, len(overlap))


def _pattern(text: str, option: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UserError(f"{option}: {brief(text)} is no regular expression ({error}).") from error


def person_of(key: str, pattern: str | re.Pattern[str]) -> str:
    """Return the IID in a key: the first group of the pattern, or all that it matches.

    Raises:
      UserError: the pattern does not match the key.

    Example:
      >>> person_of("left/1000001_21015_0_0", PERSON)
      '1000001'
    """
    pattern = re.compile(pattern)
    name = key.replace("\\", "/").rpartition("/")[2]
    found = pattern.search(name)
    value = None if found is None else found[1] if found.re.groups else found[0]
    check(
        bool(value) and not re.search(r"\s", value or ""),
        f"--person: the key {brief(key)} has no identifier that {brief(pattern.pattern)} matches; give a pattern whose "
        "first group is the IID.",
    )
    return str(value)


def _check_groups(
    store: Store, keys: Mapping[str, Sequence[str]], ids: Mapping[str, Sequence[str]], fold: int | None
) -> None:
    """Raise `UserError` if samples of one group get several IIDs, or those of one IID are of several groups."""
    groups: dict[str, tuple[int, str]] = {}
    persons: dict[int, tuple[str, str]] = {}
    for part, members in ids.items():
        group = store.group(part, fold)
        for row, one in enumerate(members if group is not None else ()):
            number, key = int(group[row]) if group is not None else 0, keys[part][row]
            other, first = groups.setdefault(one, (number, key))
            both = f"--person: the keys {brief(first)} and {brief(key)}"
            check(
                other == number, f"{both} give one person, but are of two groups; give a pattern that tells them apart."
            )
            known, first = persons.setdefault(number, (one, key))
            both = f"--person: the keys {brief(first)} and {brief(key)}"
            check(known == one, f"{both} give two persons, but are of one group; give a pattern of what they share.")


def _one_each(
    keys: Mapping[str, Sequence[str]], ids: Mapping[str, Sequence[str]], chosen: re.Pattern[str] | None
) -> dict[str, np.ndarray]:
    """Return the rows of each split, ascending, that hold the sample of every person."""
    every = [one for part in ids.values() for one in part]
    if chosen is None and len(set(every)) < len(every):
        chosen = _LEFT
    taken = {
        part: np.array([row for row, key in enumerate(names) if chosen is None or chosen.search(key)], np.int64)
        for part, names in keys.items()
    }
    seen: dict[str, str] = {}
    for part, rows in taken.items():
        for row in rows.tolist():
            one, key = ids[part][row], keys[part][row]
            check(
                one not in seen,
                f"--select: the person {brief(one)} has the samples {brief(seen.get(one))} and {brief(key)}; give a "
                "pattern that the key of one of them has, such as left.",
            )
            seen[one] = key
    words = "left, by default," if chosen is _LEFT else brief(chosen.pattern) if chosen else ""
    check(
        bool(seen), f"--select: no key of the samples has {words}, such as {brief(_any(keys))}; give another pattern."
    )
    return taken


def _any(keys: Mapping[str, Sequence[str]]) -> str:
    return next((names[0] for names in keys.values() if names), "")


def _trained_people(run: Run, store: Store, pattern: re.Pattern[str], *, own: bool) -> set[str]:
    """Return the persons of the training samples of a run."""
    origin: Any = store if own else run.store()
    keys: Iterable[str] = origin.keys("train", run.inputs.fold)
    return {person_of(key, pattern) for key in keys}
