"""Findings on the texts of an entry: numbers, and no word of a text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.page.wording import count, counted, share
from mmcl_jax.prepare.entries.text import Tokens
from mmcl_jax.prepare.reports.read import Report
from mmcl_jax.prepare.sources import Source

BERT = 512  # tokens of a text that BERT reads, with the two special tokens


def text_facts(reports: Sequence[Report], raw: Sequence[Report], tokens: Tokens, source: Source) -> dict[str, Any]:
    """Return the findings on the texts of the store's rows; `raw` has also the reports that lost all sentences.

    "texts" is their number, "identical" the number of rows whose text another row has, too; "tokens" and "sentences"
    are [least, median, largest] per text, and "over" is the number of texts of more than 510 tokens, of which BERT
    reads no more than the first sentences. Of "all" sentences of the raw texts, "short" were dropped; "priors" and
    "lateral" remark on earlier examinations and lateral views, and are None where they were not counted; "dropped" says
    which of these two were dropped. "vocabulary" is [size, its file or what was fitted].
    """
    present = tokens.lengths > 0
    lengths = tokens.lengths[present]
    same = Counter(report.sentences for report in reports if report.sentences)
    counts = np.array([len(report.sentences) for report in reports], int)[present]
    remarked = bool(source.sections or source.drop)
    origin = source.vocabulary.name if source.vocabulary else f"{source.tokenizer.replace('_', ' ')}, fitted on train"
    return {
        "texts": int(present.sum()),
        "identical": sum(rows for rows in same.values() if rows > 1),
        "tokens": _spread(lengths),
        "sentences": _spread(counts),
        "over": int((lengths > BERT - 2).sum()),
        "cut": len(tokens.cut),
        "unknown": tokens.unknown,
        "all": sum(report.total for report in raw),
        "short": sum(report.short for report in raw),
        "priors": sum(report.priors for report in raw) if remarked else None,
        "lateral": sum(report.lateral for report in raw) if remarked else None,
        "dropped": list(source.drop or ()),
        "vocabulary": [len(tokens.vocabulary), origin],
    }


def text_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the lines on the data card that tell the findings on texts."""
    (size, origin), (least, middle, most), sentences = facts["vocabulary"], facts["tokens"], facts["sentences"]
    lines = [
        f"{counted(facts['texts'], 'text')} · tokens: {count(least)} to {count(most)}, median {count(middle)} · "
        f"sentences: {sentences[0]} to {sentences[2]}, median {sentences[1]} · vocabulary: {count(size)} ({origin}) · "
        f"{share(facts['unknown'], 1)} of the tokens unknown",
        f"{count(facts['over'])} of more than {BERT - 2} tokens · {count(facts['cut'])} cut to the store's length · "
        f"{count(facts['identical'])} whose text another row has, too",
    ]
    of = f"of {counted(facts['all'], 'sentence')} in the raw texts"
    parts = [f"{count(facts['short'])} too short, dropped"] if facts["short"] else []
    for name, what in (("priors", "on earlier examinations"), ("lateral", "on a lateral view")):
        if facts[name] is not None:
            parts.append(f"{count(facts[name])} {what}{', dropped' if name in facts['dropped'] else ''}")
    return [*lines, f"{of[0].upper()}{of[1:]}: {'; '.join(parts)}"] if parts else lines


def _spread(values: np.ndarray) -> list[int]:
    """Return the least, the median and the largest value."""
    return [int(values.min()), int(np.median(values)), int(values.max())] if len(values) else [0, 0, 0]
