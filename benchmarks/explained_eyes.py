"""Explain drawn eyes with planted genetics: `python -m benchmarks.explained_eyes FOLDER [DRAWINGS] [KEY=VALUE ...]`.

Every drawing is a population of its own, by `mmcl generate fundus`: traits that photographs show depend on some
variants, scores and genes, and all others mean nothing. ContIG's outer experiment is trained on the images against all
three modalities, and `mmcl explain --method loss` attributes the loss of held-out people. The AUROC of causal against
noise features says whether attributions find what was planted; variants in linkage with a causal one count as neither.
`benchmarks/results/explained-eyes.json` has it for every drawing, its mean and its interval. It has the same for random
weights, and the difference to them: an attribution is also as large as a feature's value, so a common variant or gene
has more of it than a rare one, whatever was learned.
"""

import json
import sys
from pathlib import Path
from typing import Any

import mmcl_jax as mj
from benchmarks.record import RESULTS, machine, show
from mmcl_jax.explain.planted import Truth, auroc_of_causal, over_drawings

EYES = {
    "people": 1000, "variants": 600, "chromosomes": 2, "scores": 40, "genes": 100, "image_size": 48,
    "aptos": 0, "rfmid": 0, "palm": 0,
}  # fmt: skip
MODALITIES = ("snp", "pgs", "burden")


def explained(folder: Path, drawing: int, overrides: dict[str, Any]) -> list[dict[str, Any]]:
    """Draw, train and explain; return a row per modality, of the trained and of random weights."""
    raw, store = folder / f"raw-{drawing}", folder / f"store-{drawing}"
    mj.generate("fundus", out=raw, options={**EYES, "seed": drawing})
    mj.prepare(dataset="fundus", root=raw, image_size=EYES["image_size"], options={"every": 1}, out=store)
    truth, rows = Truth.read(raw / "truth"), []
    for weights, epochs in (("trained", {}), ("random", {"epochs": 1, "optimizer.weight_decay": 0.0})):
        rate = {"schedule.learning_rate": 1e-9} if weights == "random" else {}
        run = mj.pretrain(
            "contig/outer:fundus",
            folder / f"run-{weights}-{drawing}",
            data=store,
            overrides={**overrides, **epochs, **rate, "seed": drawing},
        )
        for one in mj.explain(run, method="loss", input=MODALITIES, rows=200, reference=200, top=30):
            modality = one.about["input"]
            found = auroc_of_causal(one.columns, truth, modality)
            details = one.about["details"]
            rows.append(
                {
                    "drawing": drawing,
                    "weights": weights,
                    "modality": modality,
                    **found,
                    **details["modality"],
                    "completeness_error": details["completeness"]["error"],
                }
            )
    return rows


def main(folder: Path, drawings: int, overrides: dict[str, Any]) -> None:
    """Explain every drawing, and write the AUROC of each and its interval over drawings."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for drawing in range(drawings) for row in explained(folder, drawing, overrides)]
    summary = []
    for modality in MODALITIES:
        of = {
            weights: [row["auroc"] for row in rows if (row["weights"], row["modality"]) == (weights, modality)]
            for weights in ("trained", "random")
        }
        of["trained - random"] = [one - other for one, other in zip(*of.values(), strict=True)]
        summary += [{"modality": modality, "weights": name, **over_drawings(v)} for name, v in of.items()]
    show("AUROC of causal against noise features", rows)
    show("Over drawings", summary)
    words = " ".join([folder.name, str(drawings), *(f"{name}={value}" for name, value in overrides.items())])
    path = RESULTS / "explained-eyes.json"
    command = {"command": f"python -m benchmarks.explained_eyes {words}"}
    content = {"machine": {**machine(), **command}, "eyes": EYES, "rows": rows, "summary": summary}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[3:])
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3, {k: json.loads(v) for k, v in given.items()})
