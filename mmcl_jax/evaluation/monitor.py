"""The quality of features during pretraining: nearest neighbours, retrieval and linear probes on a few rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.data.inputs import Inputs, input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.label_feature import columns_with_label
from mmcl_jax.encoders import Model, parse_key
from mmcl_jax.encoders.fusions import inputs_of, needed_inputs
from mmcl_jax.evaluation.heads.encoded import beside
from mmcl_jax.evaluation.protocols.knn import knn_outputs, nearest
from mmcl_jax.evaluation.protocols.retrieval import ranks
from mmcl_jax.evaluation.sources.features import What, frozen_encoder
from mmcl_jax.evaluation.sources.pairs import compared
from mmcl_jax.evaluation.sources.reads import BOTH
from mmcl_jax.tasks import Class, MultiLabel

PROBE = "multi_label"  # the term that trains a linear layer to predict labels


def monitor(store: Store, config: ConfigDict, inputs: Inputs) -> "OnlineKNN":
    """Return the monitor that `config.monitor` describes."""
    return OnlineKNN(store, config, inputs, rows=config.monitor.rows, neighbours=config.monitor.neighbours)


class OnlineKNN:
    """A monitor that measures the model between steps of pretraining; only its first call compiles.

    The bank of neighbours is a fixed random subset of the training rows, and the queries are a fixed random subset of
    the validation rows. The label is the first of the store that is a class; rows without it do not count. The monitor
    is for watching a training: `mmcl evaluate` measures with label budgets, seeds, and the test split.
    """

    def __init__(
        self, store: Store, config: ConfigDict, inputs: Inputs, *, rows: int = 2048, neighbours: int = 20
    ) -> None:
        """Read at most `rows` rows of each split; the `neighbours` nearest rows vote, or all if there are fewer."""
        self._config, self._neighbours = config, neighbours
        self._modalities = tuple(sorted(config.encoders))
        self._inputs = {modality: inputs_of(config.views, modality) for modality in self._modalities}
        self._needed = {modality: needed_inputs(config.views, modality) for modality in self._modalities}
        read = tuple(dict.fromkeys(name for names in self._inputs.values() for name in names))
        self._train, self._val = (_sample(store, split, read, inputs, rows) for split in ("train", "val"))
        label = store.schema.label
        self._task = None if label is None else Class(label=label.name, classes=len(label.categories))
        self._label = "" if label is None else label.name
        leaky = (
            label is not None and "table" in self._modalities and columns_with_label(inputs.schema, store, label.name)
        )
        self._leaky = bool(leaky)
        self._fitted, self._pairs = inputs.fitted, compared(config, inputs)

    def __call__(self, model: Model) -> dict[str, float]:
        """Return `online/knn_top1/MODALITY`, the accuracy of weighted kNN, of every modality that has labelled rows.

        If a term compares image and table, return `online/retrieval_top1` too: the share of validation rows with both
        whose own table is the nearest to their image, averaged with the reverse direction. For other pairs the key is
        `online/retrieval_top1/FIRST-SECOND`.

        For every term `multi_label`, return `online/auroc/VIEW`, the mean AUROC over its labels in the validation rows.
        """
        metrics = {}
        for modality in self._modalities:
            top1 = self._top1(model, modality)
            if top1 is not None:
                metrics[f"online/knn_top1/{modality}"] = top1
        for pair in self._pairs:
            both = np.all([self._present(self._val, parse_key(key).modality) for key in pair], axis=0)
            if both.any():
                first, second = (self._compared(model, key)[both] for key in pair)
                both_ways = np.stack([ranks(first, second), ranks(second, first)])
                name = "" if pair == BOTH else f"/{'-'.join(pair)}"
                metrics[f"online/retrieval_top1{name}"] = float((both_ways == 1).mean())
        for index, term in enumerate(self._config.objective):
            if term.name == PROBE:
                metrics |= self._auroc(model, f"term_{index}", term)
        return metrics

    def _auroc(self, model: Model, key: str, term: ConfigDict) -> dict[str, float]:
        """Return the mean AUROC of a term's labels; {} if no label has validation rows of both classes."""
        modalities = [self._config.views[view].modality for view in term.between]
        present = np.all([self._present(self._val, modality) for modality in modalities], axis=0)
        logits = np.zeros((len(present), len(term.labels)))
        for view, modality in zip(term.between, modalities, strict=True):
            layer = model.heads[key][view]
            logits += self._encode(model, self._val, modality) @ np.asarray(layer.kernel[...], np.float64)
            logits += np.asarray(layer.bias[...], np.float64)
        codes = np.stack([self._codes(self._val, name) for name in term.labels], axis=1)
        targets = np.where(codes < 0, np.nan, codes > 0)[present]
        task = MultiLabel(label=key, names=tuple(term.labels))
        auroc = task.metrics(logits[present], targets)["auroc_macro"]
        return {} if np.isnan(auroc) else {f"online/auroc/{'-'.join(term.between)}": auroc}

    def _top1(self, model: Model, modality: str) -> float | None:
        """Return the accuracy; None if bank or queries have no labelled row, or the label is a column of the input."""
        if self._task is None or ("table" in self._inputs[modality] and self._leaky):
            return None
        bank_codes, codes = self._codes(self._train), self._codes(self._val)
        in_bank = (bank_codes >= 0) & self._present(self._train, modality)
        in_queries = (codes >= 0) & self._present(self._val, modality)
        if not in_bank.any() or not in_queries.any():
            return None
        bank = self._encode(model, self._train, modality)[in_bank]
        queries = self._encode(model, self._val, modality)[in_queries]
        cosines, indices = nearest(bank, queries, min(self._neighbours, len(bank)))
        outputs = knn_outputs(cosines, bank_codes[in_bank][indices], task=self._task)
        return float((outputs.argmax(axis=1) == codes[in_queries]).mean())

    def _present(self, rows: Mapping[str, np.ndarray], modality: str) -> np.ndarray:
        all_rows = np.ones(len(rows["id"]), bool)
        return np.all([rows.get(f"present/{name}", all_rows) for name in self._needed[modality]], axis=0)

    def _codes(self, rows: Mapping[str, np.ndarray], label: str | None = None) -> np.ndarray:
        return rows[f"target/{self._label if label is None else label}"]

    def _compared(self, model: Model, key: str) -> np.ndarray:
        """Return what terms compare of the validation rows: projections, or with the head "none" the features."""
        modality, _, head = parse_key(key)
        if head == "none":
            return self._encode(model, self._val, modality)
        return self._encode(model, self._val, modality, "projected", head)

    def _encode(
        self, model: Model, rows: Mapping[str, Any], modality: str, what: What = "pooled", head: str = ""
    ) -> np.ndarray:
        encode = frozen_encoder(
            model, config=self._config, modality=modality, what=what, head=head, fitted=self._fitted
        )
        spare = set(self._inputs[modality]) - set(self._needed[modality])
        return encode({name: rows[name] for name in self._inputs[modality]} | beside(rows, spare))


def _sample(store: Store, split: str, modalities: tuple[str, ...], inputs: Inputs, count: int) -> dict[str, np.ndarray]:
    """Return a fixed random sample of at most `count` rows of a split, in memory."""
    arrays = input_arrays(store, split, inputs, modalities)
    rows = np.sort(np.random.default_rng(0).permutation(len(arrays["id"]))[:count])
    return {name: np.asarray(array[rows]) for name, array in arrays.items()}
