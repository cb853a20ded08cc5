"""Reports from files and tables to a store: what is kept, counted, named and shown, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mmcl_jax.cli.main import main
from mmcl_jax.data.kinds.text import SPECIAL, words_by_sentence
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.card.findings import Findings
from mmcl_jax.prepare.entries.text import tokenise
from mmcl_jax.prepare.join.tables import Keys
from mmcl_jax.prepare.limits import Limits
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.quarantine import Quarantine
from mmcl_jax.prepare.reports.read import Unreadable, read_reports, read_text
from mmcl_jax.prepare.request import Request
from mmcl_jax.prepare.sources import Source
from mmcl_jax.report.pictures import StoreRows

tokenizers = pytest.importorskip("tokenizers")
ROWS = 30
SECRET = "zanzibar"


def report(n: int) -> str:
    """Reports 0 to 29: 3 has other headings, 4 is empty, 5 and 6 are alike, 7 is long."""
    if n == 4:
        return ""
    if n == 3:
        return "INDICATION: Cough.\nCOMPARISON: None."
    body = f"Left effusion of {n if n != 6 else 5}.5 cm. The heart is unchanged. Ok."
    long = " ".join(f"Line {i} ends here." for i in range(200)) if n == 7 else ""
    return f"INDICATION: {SECRET}.\nFINDINGS: {body} {long}\nIMPRESSION: No edema\nis seen on the lateral view."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reports as files and as a table, and a table of scores."""
    (tmp_path / "texts").mkdir()
    keys = [f"s{n}" for n in range(ROWS)]
    for n, key in enumerate(keys):
        (tmp_path / "texts" / f"{key}.txt").write_text(report(n))
    pl.DataFrame({"id": keys, "score": [float(n) for n in range(ROWS)]}).write_csv(tmp_path / "scores.csv")
    table = {"id": keys, "text": [report(n) for n in range(ROWS)], "path": [f"{key}.txt" for key in keys]}
    pl.DataFrame(table).write_csv(tmp_path / "reports.csv")
    return tmp_path


def request(raw: Path, *, cohort: str = "outer", max_bad: float = 0.01, like: str = "", **source: Any) -> Request:
    if not {"file", "folder"} & source.keys():
        source |= {"folder": str(raw / "texts"), "files": "{key}.txt"}
    scores = {"kind": "vector", "file": str(raw / "scores.csv"), "key": "id"}
    text = {"kind": "text", "sections": True, "tokenizer": "word_pieces", **source}
    text = {key: value for key, value in text.items() if value is not None}
    fields = {"key_column": "id", "cohort": cohort, "max_bad": max_bad, **({"like": like} if like else {})}
    return Request.from_json({"entries": {"scores": scores, "report": text}, **fields})


def words(store: Store) -> dict[str, list[str]]:
    """The sentences of every row that has a report, by key."""
    found = {}
    for split in store.sizes:
        rows = store.read(split, ["report"])["report"]
        present = np.ones(len(rows), bool) if rows.present is None else rows.present
        for row, key in enumerate(store.keys(split)):
            if present[row]:
                found[key] = words_by_sentence(np.asarray(rows[row]), store.names("report"))
    return found


def test_files_become_sentences_of_word_pieces_and_are_counted(folder: Path) -> None:
    store = prepare(request(folder), folder / "store")
    found = words(store)
    assert set(found) == {f"s{n}" for n in range(ROWS)} - {"s3", "s4"}
    assert found["s8"] == [
        "left effusion of 8.5 cm.", "the heart is unchanged.", "ok.", "no edema is seen on the lateral view.",
    ]  # fmt: skip
    assert store.names("report")[:5] == SPECIAL
    assert store.schema.entries["report"].shape[0] > 800  # more than 512 tokens are kept
    findings = Findings.of(store)
    (facts,) = (entry["text"] for entry in findings.entries if entry["name"] == "report")
    assert (facts["texts"], facts["identical"], facts["over"], facts["cut"]) == (28, 2, 1, 0)
    assert (facts["all"], facts["priors"], facts["lateral"], facts["short"]) == (28 * 4 + 200, 28, 28, 0)
    assert facts["sentences"] == [4, 4, 204]
    told = "1 text of 'report' without FINDINGS or IMPRESSION counts as absent: 's3'."
    assert told in findings.warnings
    page = (store.directory / "card.html").read_text()
    assert "28 on earlier examinations; 28 on a lateral view" in page
    assert "vocabulary: " in page
    inner = prepare(request(folder, cohort="inner"), folder / "inner")
    assert set(words(inner)) == set(found)
    assert sum(inner.sizes.values()) == 28


def test_columns_of_texts_and_of_paths_give_the_same_store_as_files(folder: Path) -> None:
    expected = words(prepare(request(folder), folder / "files"))
    table = str(folder / "reports.csv")
    for name, source in {
        "cells": {"file": table, "column": "text"},
        "paths": {"file": table, "column": "path", "folder": str(folder / "texts")},
    }.items():
        assert words(prepare(request(folder, **source), folder / name)) == expected


def test_sentences_are_dropped_and_texts_cut_between_sentences(folder: Path) -> None:
    store = prepare(request(folder, min_words=3, drop=["priors"], length=25), folder / "store")
    found = words(store)
    assert found["s8"] == ["left effusion of 8.5 cm.", "no edema is seen on the lateral view."]
    assert all(sentence.endswith(".") for sentence in found["s7"])
    assert 2 <= len(found["s7"]) < 10
    findings = Findings.of(store)
    assert "1 text of 'report' had more than 25 tokens and lost their last sentences: 's7'." in findings.warnings
    (facts,) = (entry["text"] for entry in findings.entries if entry["name"] == "report")
    assert (facts["short"], facts["dropped"], facts["cut"]) == (28, ["priors"], 1)


def test_pages_show_words_only_when_asked(folder: Path) -> None:
    for name, shown in (("silent", False), ("shown", True)):
        store = prepare(request(folder, sections=False, show_text=shown), folder / name)
        assert store.schema.entries["report"].show_text == shown
        # No file beside the vocabulary holds the word, whatever is shown.
        holding = {path.name for path in store.directory.rglob("*") if path.is_file() and SECRET in _content(path)}
        assert holding - {"card.html"} <= {"tokenizer.report.json", "report.names.txt"}
        assert ("card.html" in holding) == shown
        rows = StoreRows(Store.open(store.directory), "train", None)  # of the run report
        told = " ".join(rows.words(row) for row in range(len(store.keys("train"))))
        assert (SECRET in told) == shown
        assert bool(told.strip()) == shown


def _content(path: Path) -> str:
    return path.read_bytes().decode("latin-1").lower()


def test_word_pieces_are_those_of_the_training_rows_and_the_same_each_time(folder: Path) -> None:
    texts = [[f"effusion {n % 7} seen", "edema"] for n in range(40)] + [["Ωmega"]]
    source = Source(kind="text", tokenizer="word_pieces", vocabulary_size=60)
    first, second = (tokenise(texts, np.arange(40), source, "report") for _ in range(2))
    assert first.tokenizer == second.tokenizer
    assert first.vocabulary[:5] == SPECIAL
    assert {"effusion", "edema"} <= set(first.vocabulary)
    assert not any("ω" in token for token in first.vocabulary)
    assert first.vocabulary[first.values[40, 0, 0]] == "[UNK]"
    with pytest.raises(UserError, match=r"vocabulary_size is 20, and the training rows have \d+ different characters"):
        tokenise(texts, np.arange(40), Source(kind="text", tokenizer="word_pieces", vocabulary_size=20), "report")


def test_a_cased_vocabulary_is_used_in_lower_case_when_asked_as_clinical_bert_does(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL, "No", "no", "edema", "."]) + "\n")
    for lowercase, expected in ((None, "No"), (True, "no"), (False, "No")):
        source = Source(kind="text", vocabulary=path, lowercase=lowercase)
        tokens = tokenise([["No edema."]], np.arange(1), source, "report")
        assert [tokens.vocabulary[token] for token in tokens.values[0, :, 0]] == [expected, "edema", "."]


def test_a_tokenizer_that_pads_and_truncates_gives_whole_texts_without_padding(tmp_path: Path) -> None:
    """As those beside published models do."""
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece({piece: n for n, piece in enumerate(SPECIAL)}))
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.add_tokens(["no", "edema"])
    made.enable_padding(length=8)
    made.enable_truncation(2)
    made.save(str(tmp_path / "tokenizer.json"))
    source = Source(kind="text", vocabulary=tmp_path / "tokenizer.json")
    tokens = tokenise([["no edema no edema"], ["no"]], np.arange(2), source, "report")
    assert tokens.lengths.tolist() == [4, 1]
    assert tokens.values[..., 0].tolist() == [[5, 6, 5, 6], [5, -1, -1, -1]]
    made.add_tokens(["line\nbreak"])
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=r"has the token 'line\\nbreak', and a store holds a token per line; take this"):
        tokenise([["no"]], np.arange(1), source, "report")


def test_a_vocabulary_may_have_separators_of_lines_as_tokens(tmp_path: Path) -> None:
    """Chinese BERT's has U+2028."""
    (tmp_path / "vocab.txt").write_text("\ufeff" + "\r\n".join([*SPECIAL, "\u2028", "\x85", "edema"]) + "\n")
    tokens = tokenise([["edema"]], np.arange(1), Source(kind="text", vocabulary=tmp_path / "vocab.txt"), "report")
    assert tokens.vocabulary == (*SPECIAL, "\u2028", "\x85", "edema")
    assert tokens.values[0, 0].tolist() == [7, 0]


def test_files_have_a_largest_size_and_any_spelling_of_their_encoding(tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_text("é" * 99)  # which is cut within a character
    with pytest.raises(Unreadable, match=r"large.txt has more than 20 characters; the limit is 20; allow more with"):
        read_text(tmp_path, "large.txt", "utf-8", Limits(max_cell=20))
    for mark in ("utf-8-sig", "utf-16"):
        (tmp_path / "marked.txt").write_text("FINDINGS: x", encoding=mark)
        assert read_text(tmp_path, "marked.txt", "UTF8", Limits(max_cell=11)) == "FINDINGS: x"


def test_texts_of_any_length_are_kept_up_to_the_limit_that_is_stated() -> None:
    """Empty, of one word, and of 10,000 words."""
    texts = [[], ["edema"], ["no edema here."] * 3334]
    made = tokenise(texts, np.arange(3), Source(kind="text", tokenizer="word_pieces"), "report", keys=["a", "b", "c"])
    assert made.lengths.tolist() == [0, 1, 3334 * 4]
    assert made.values[2, -1].tolist()[1] == 3333
    with pytest.raises(UserError, match="the text of 'c' has 13,336 tokens; the limit is 9,000; allow more with --max"):
        tokenise(
            texts, np.arange(3), Source(kind="text"), "report", keys=["a", "b", "c"], limits=Limits(max_tokens=9000)
        )


def test_later_texts_are_read_in_the_same_way_unless_they_say_otherwise(folder: Path) -> None:
    store = prepare(request(folder, min_words=3, length=40, vocabulary_size=90), folder / "store")
    later = request(folder, tokenizer="byte_pairs", sections=None, like=str(store.directory))
    again = prepare(later, folder / "later")
    assert words(again) == words(store)
    assert again.names("report") == store.names("report")
    for n in range(ROWS):
        (folder / "texts" / f"s{n}.txt").write_text("Left effusion")
    phrases = request(folder, tokenizer="byte_pairs", sections=False, min_words=0, like=str(store.directory))
    assert set(map(tuple, words(prepare(phrases, folder / "phrases")).values())) == {("left effusion",)}


PIECES = {"tokenizer": "word_pieces"}
BAD: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "a file that is missing": (lambda folder: _paths(folder, s9="s99.txt"), "s99.txt does not exist"),
    "a file that is binary": (
        lambda folder: _written(folder, b"\x89PNG\0\0\x01"),
        "s9.txt is binary, and not text",
    ),
    "a file in another encoding": (
        lambda folder: _written(folder, "FINDINGS: größer".encode("latin-1")),
        "s9.txt is not text in utf-8; name another encoding with encoding, such as latin-1",
    ),
    "an encoding that does not exist": (lambda folder: {"encoding": "klingon"}, "is not text in klingon"),
    "a path that leaves the folder": (
        lambda folder: _paths(folder, s9="../scores.csv"),
        "The text file '../scores.csv' leaves the folder",
    ),
    "a text in place of a path": (
        lambda folder: _paths(folder, s9="No effusion. " * 40),
        "cannot be read: File name too long",
    ),
    "sections that no text has": (lambda folder: {"sections": ["PLAN"]}, "none of its rows has both a key and a value"),
    "a folder that is missing": (
        lambda folder: {"folder": str(folder / "no"), "files": "{key}.txt"},
        "no does not exist",
    ),
    "a vocabulary without unknown": (lambda folder: _vocabulary(folder, "a\nb\n"), "has no token [UNK]"),
    "a remark that is unknown": (lambda folder: {"drop": ["devices"]}, "drop: 'devices' is not one of priors, lateral"),
    "a heading with its colon": (lambda folder: {"sections": ["FINDINGS:"]}, "sections: 'FINDINGS:' is no heading"),
    "files and a column": (
        lambda folder: {**_paths(folder), "files": "{key}.txt"},
        "set either files, with {key} in it",
    ),
    "a case for a tokenizer.json": (
        lambda folder: {"vocabulary": "tokenizer.json", "lowercase": True},
        "lowercase: a tokenizer.json says so itself; leave it out",
    ),
    "a tokenizer beside a vocabulary": (
        lambda folder: {**_vocabulary(folder, "[UNK]\n"), **PIECES},
        "vocab.txt is the vocabulary; leave tokenizer out",
    ),
    "a size for a vocabulary": (
        lambda folder: {**_vocabulary(folder, "[UNK]\n"), "vocabulary_size": 99},
        "vocab.txt is the vocabulary; leave vocabulary_size out",
    ),
    "a vocabulary too small": (
        lambda folder: {**PIECES, "vocabulary_size": 9},
        "vocabulary_size is 9, and the training rows have",
    ),
}


def _paths(folder: Path, **paths: str) -> dict[str, Any]:
    table = pl.read_csv(folder / "reports.csv")
    paths_of = [paths.get(key, path) for key, path in table.select("id", "path").rows()]
    table.with_columns(path=pl.Series(paths_of)).write_csv(folder / "reports.csv")
    return {"file": str(folder / "reports.csv"), "column": "path", "folder": str(folder / "texts")}


def _written(folder: Path, content: bytes) -> dict[str, Any]:
    (folder / "texts" / "s9.txt").write_bytes(content)
    return {}


def _vocabulary(folder: Path, text: str) -> dict[str, Any]:
    (folder / "vocab.txt").write_text(text)
    return {"vocabulary": str(folder / "vocab.txt")}


def test_a_vocabulary_is_read_before_images_are_decoded(folder: Path) -> None:
    _vocabulary(folder, "no unknown")
    with pytest.raises(UserError, match=r"has no token \[UNK\], which stands for unknown words; add it"):
        read_reports(
            "report", Source(kind="text", vocabulary=folder / "vocab.txt", folder=folder / "texts", files="{key}.txt"),
            "id", "report", Keys(), Quarantine(),
        )  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_sentence(what: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, sentence = BAD[what]
    source = {"kind": "text", "sections": True, **change(folder)}
    if not {"file", "folder"} & source.keys():
        source |= {"folder": str(folder / "texts"), "files": "{key}.txt"}
    scores = {"kind": "vector", "file": str(folder / "scores.csv"), "key": "id"}
    path = folder / "request.json"
    path.write_text(json.dumps({"entries": {"scores": scores, "report": source}, "key_column": "id"}))
    assert main(["prepare", "--request", str(path), "--out", str(folder / "store"), "--workers", "1"]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (folder / "store").exists()


def test_a_file_that_cannot_be_read_is_an_absent_report_within_the_allowance(folder: Path) -> None:
    (folder / "texts" / "s9.txt").write_bytes(b"\xff\xfeF\0\0\0")
    (folder / "texts" / "s10.txt").write_text("FINDINGS: Clear lungs.", encoding="utf-16")
    store = prepare(request(folder, max_bad=0.1), folder / "store")
    found = words(store)
    assert "s9" not in found
    assert found["s10"] == ["clear lungs."]
    (entry,) = (entry for entry in Findings.of(store).entries if entry["name"] == "report")
    assert entry["bad"] == {"not text": 1}
    assert "s9.txt is binary" in (store.directory / "quarantine.jsonl").read_text()
