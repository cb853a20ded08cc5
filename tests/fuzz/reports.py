"""Reports: texts that become tokens, and vocabularies, whole and damaged."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mmcl_jax.prepare.entries.text import tokenise
from mmcl_jax.prepare.reports.read import report_of
from mmcl_jax.prepare.reports.sections import sections
from mmcl_jax.prepare.sources import Source
from tests.fuzz.case import Kind, Wrong
from tests.fuzz.values import damaged, damages, texts

_VOCABULARY = "[UNK]\nno\nacute\nfinding\n##s\n.\n"
_reports = st.lists(
    st.none()
    | st.lists(
        texts
        | st.sampled_from(["No acute findings.", "Heart: normal!", "\n", "\nFINDINGS: Unchanged 1.5 cm. Dr. ___"]),
        max_size=4,
    ).map(" ".join),
    max_size=5,
)


def _write(case: dict[str, Any], folder: Path) -> None:
    ending, content = "txt", _VOCABULARY.encode()
    if case["vocabulary"] == "json":
        ending, content = (
            "json",
            tokenise([["no acute finding"]], np.array([0]), Source(kind="text"), "t").tokenizer.encode(),
        )
    (folder / f"vocab.{ending}").write_bytes(damaged(content, case["damage"]))


def _act(case: dict[str, Any], inputs: Path, out: Path) -> None:
    reports = case["reports"]
    vocabulary = None if case["vocabulary"] is None else inputs / f"vocab.{case['vocabulary']}"
    source = Source(
        kind="text",
        vocabulary=vocabulary,
        length=case["length"],
        vocabulary_size=50,
        tokenizer=case["tokenizer"],
        sections=case["sections"],
        drop=case["drop"],
    )
    texts = [
        report_of(sections(report or "", source.sections) or "" if source.sections else report or "", source)
        for report in reports
    ]
    tokens = tokenise([text.sentences for text in texts], np.arange(len(reports)), source, "entries.report")
    if tokens.values.shape[0] != len(reports) or tokens.values[..., 0].max() >= len(tokens.vocabulary):
        raise Wrong(f"{tokens.values.shape} for {len(reports)} texts")


REPORTS = Kind(
    "reports",
    st.fixed_dictionaries(
        {
            "reports": _reports,
            "vocabulary": st.sampled_from([None, None, "txt", "json"]),
            "damage": damages,
            "tokenizer": st.sampled_from(["byte_pairs", "word_pieces"]),
            "sections": st.sampled_from([(), (), ("FINDINGS",)]),
            "drop": st.sampled_from([(), ("priors",), ("priors", "lateral")]),
            "length": st.none() | st.integers(1, 20),
        }
    ),
    _write,
    _act,
)
