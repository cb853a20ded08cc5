"""Genotypes and scores: matrices with keys, in NumPy arrays, tables and the triples of files that PLINK writes."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mmcl_jax.prepare.make import preview
from mmcl_jax.prepare.request import Request
from tests.fuzz.case import Kind
from tests.fuzz.values import damaged, damages, texts

_NUMBERS = st.sampled_from([0, 1, 2, -9, -127, 3, 127, 300, 0.5, float("nan"), float("inf"), 1e300])


@st.composite
def _cases(draw: Any) -> dict[str, Any]:
    rows, columns = draw(st.integers(0, 6)), draw(st.integers(0, 4))
    return {
        "ending": draw(st.sampled_from(["npy", "tsv", "bed"])),
        "type": draw(st.sampled_from(["int8", "float32", "float64", "int64", "bool", "<U2", "complex64"])),
        "values": [[draw(_NUMBERS) for _ in range(columns)] for _ in range(rows)],
        "keys": [draw(st.just(f"s{row}") | texts) for row in range(draw(st.just(rows) | st.integers(0, 7)))],
        "names": draw(st.none() | st.lists(texts, max_size=4)),
        "dtype": draw(st.sampled_from(["int8", "float16", "float32"])),
        "damage": draw(st.just([]) | damages),
    }


def _write(case: dict[str, Any], folder: Path) -> None:
    keys, values = case["keys"], case["values"]
    (folder / "keys.txt").write_text("\n".join(keys), "utf-8", "replace")
    if case["names"] is not None:
        (folder / "names.txt").write_text("\n".join(case["names"]), "utf-8", "replace")
    if case["ending"] == "npy":
        stream = io.BytesIO()
        with np.errstate(all="ignore"):
            np.save(stream, np.array(values, np.float64).astype(case["type"]))
        content = stream.getvalue()
    elif case["ending"] == "tsv":
        names = (case["names"] or []) + [f"rs{i}" for i in range(9)]
        lines = [["IID", *names[: len(values[0]) if values else 1]]]
        lines += [[key, *map(str, row)] for key, row in zip(keys, values, strict=False)]
        content = "\n".join("\t".join(line) for line in lines).encode("utf-8", "replace")
    else:
        content = b"\x6c\x1b\x01" + bytes(range(len(values) * -(-len(keys) // 4)))
        (folder / "m.bim").write_text("".join(f"1\trs{i}\t0\t{i}\tA\tC\n" for i in range(len(values))))
        (folder / "m.fam").write_text("".join(f"{key} {key} 0 0 0 -9\n" for key in keys), "utf-8", "replace")
    (folder / f"m.{case['ending']}").write_bytes(damaged(content, case["damage"]))


def _act(case: dict[str, Any], inputs: Path, out: Path) -> None:
    file = str(inputs / f"m.{case['ending']}")
    if case["ending"] == "bed":
        entry: dict[str, Any] = {"kind": "genotypes", "file": file}
    else:
        entry = {"kind": "vector", "file": file, "dtype": case["dtype"]}
        entry |= {"keys": str(inputs / "keys.txt")} if case["ending"] == "npy" else {"key": "IID"}
        if case["names"] is not None and case["ending"] == "npy":
            entry["names"] = str(inputs / "names.txt")
    preview(Request.from_json({"entries": {"snps": entry}}))


GENOTYPES = Kind("genotypes", _cases(), _write, _act)
