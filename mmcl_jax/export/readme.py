"""`README.md` of an export: the metadata that model hubs read, and the card in words."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmcl_jax.export.formats import Written
from mmcl_jax.page.wording import clipped
from mmcl_jax.text import visible

README = "README.md"
_MOST_COLUMNS = 40
_TAGS = ("mmcl_jax", "contrastive-learning", "multimodal", "tabular", "jax", "flax")
_PIPELINES = {
    ("image", "class"): "image-classification",
    ("image", "segmentation"): "image-segmentation",
    ("table", "class"): "tabular-classification",
    ("table", "number"): "tabular-regression",
}


def readme_of(card: Mapping[str, Any], files: Sequence[Written], *, license: str | None = None) -> str:
    """Return the README of a card and the files it describes; names and texts from outside are escaped."""
    metadata = {
        "library_name": "mmcl_jax",
        "pipeline_tag": pipeline_of(card),
        "tags": list(_TAGS),
        **({"license": license} if license else {}),
    }
    # JSON is YAML, whatever the texts hold.
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in metadata.items()), "---", ""]
    lines += [f"# {escaped(card['name'])}", "", _summary(card), ""]
    if card.get("restriction"):
        lines += ["## Restricted training data", "", f"{escaped(card['restriction'])}", ""]
    lines += ["## Encoders", "", *_encoders(card), ""]
    lines += ["## Files", "", *(f"- `{one.file}`: {escaped(one.about)}" for one in files)]
    lines += ["- `card.json`: all that is said here and the details, for programs.", ""]
    usages = [one.usage for one in files if one.usage]
    lines += ["## How to load", ""] if usages else []
    lines += [part for usage in usages for part in (usage, "")]
    lines += ["## Inputs", "", *_inputs(card)]
    lines += _results(card)
    lines += ["## Provenance", "", *_provenance(card)]
    return "\n".join(lines).rstrip() + "\n"


def pipeline_of(card: Mapping[str, Any]) -> str:
    """Return the hub's name of the task: that of the head, or the extraction of features."""
    head, kinds = card["head"], {spec["kind"] for spec in card["preprocessing"].values()}
    if head is None:
        return "image-feature-extraction" if kinds == {"image"} else "feature-extraction"
    (kind, *others) = sorted(kinds)
    return _PIPELINES.get((kind, head["task"]["name"]), "feature-extraction") if not others else "feature-extraction"


def escaped(text: object) -> str:
    r"""Return a text that Markdown and HTML show as it is, on one line.

    Example:
      >>> print(escaped("a_b<script>|[x](y)"))
      a\_b&lt;script&gt;\|\[x\](y)
    """
    plain = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", plain)


def _summary(card: Mapping[str, Any]) -> str:
    trained, step = "Encoders that were pretrained together on paired data by mmcl\\_jax", card["provenance"]["step"]
    text = {
        "last": f"{trained}: the weights after step {step}.",
        "average": f"{trained}: the averages of the weights after step {step}.",
        "initial": "Encoders of mmcl\\_jax with initial weights, which are not trained.",
        "fine-tuned": f"{trained}, and were fine-tuned with the head.",
    }[card["weights"]]
    if (head := card["head"]) is None:
        return text
    reads = " and ".join(map(escaped, head["modalities"]))
    return f"{text} A head on the features of {reads} predicts {escaped(head['task']['label'])}."


def _encoders(card: Mapping[str, Any]) -> list[str]:
    rows = ["| modality | encoder | kind | features | parameters |", "|---|---|---|---:|---:|"]
    for name, spec in card["encoders"].items():
        cells = (escaped(name), escaped(spec["name"]), spec["kind"], f"{spec['features']:,}", f"{spec['parameters']:,}")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _inputs(card: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, spec in card["preprocessing"].items():
        lines += [f"### {escaped(name)}", ""]
        shape = " x ".join(map(str, spec["shape"]))
        if spec["kind"] in ("image", "volume"):
            size = " x ".join(map(str, spec["size"]))
            fitted = f"a window of {size}" if "scan" in spec else f"resized to {size}"
            lines.append(
                f"{spec['dtype']} {shape}, channels last, divided by {spec['divide_by']}, {fitted} "
                f"({spec['resize']}). Arrays of another size are refused; pictures were fitted to it so: "
                f"{escaped(spec['fit'] or 'as they are')}."
            )
        elif spec["kind"] == "table":
            lines += _table(spec)
        else:
            lines.append(f"{spec['dtype']} {shape}, as card.json says under `preprocessing`.")
        lines.append("")
    return lines


def _table(spec: Mapping[str, Any]) -> list[str]:
    columns = spec["columns"]
    lines = [
        f"{len(columns)} columns. Missing values: {spec['missing']}. Numbers outside of the training range: "
        f"{spec['outside']}.",
        "",
        "| column | kind | values |",
        "|---|---|---|",
    ]
    for column in columns[:_MOST_COLUMNS]:
        values = (
            ", ".join(escaped(clipped(text, 40)) for text in column["categories"][:8])
            + (", ..." if len(column["categories"]) > 8 else "")
            if column["categories"]
            else f"{column['low']:g} to {column['high']:g} {escaped(column['unit'])}".rstrip()
        )
        lines.append(f"| {escaped(clipped(column['name'], 80))} | {column['kind']} | {values} |")
    more = len(columns) - _MOST_COLUMNS
    return [*lines, "", f"and {more} more columns, in card.json."] if more > 0 else lines


def _results(card: Mapping[str, Any]) -> list[str]:
    if not card["metrics"]:
        return []
    head = ["protocol", "input", "label", "labels used", "draws", "metrics"]
    lines = ["## Results on test", "", f"| {' | '.join(head)} |", "|---|---|---|---|---:|---|"]
    for score in card["metrics"]:
        metrics = ", ".join(
            f"{escaped(name)} {value['mean']:.4g}" + (f" ± {value['std']:.2g}" if score["draws"] > 1 else "")
            for name, value in score["metrics"].items()
            if value is not None and not name.startswith("val_")
        )
        cells = [escaped(score[key]) for key in ("protocol", "input", "label", "budget")]
        lines.append(f"| {' | '.join((*cells, str(score['draws']), metrics))} |")
    return [*lines, ""]


def _provenance(card: Mapping[str, Any]) -> list[str]:
    made = card["provenance"]
    return [
        f"Made on {made['date']} with mmcl\\_jax {escaped(made['mmcl_jax'])} and JAX {escaped(made['jax'])}, from seed "
        f"{made['seed']}, on the store `{made['store'][:16]}`, by",
        "",
        f"    {visible(made['command'])}",
    ]
