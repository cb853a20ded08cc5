"""How good the features are while they are being learnt: nearest neighbours and retrieval on a few rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.data.inputs import Inputs, input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.data.table.label_feature import columns_with_label
from mmcl_jax.encoders import Model, parse_key
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.evaluation.protocols.knn import knn_outputs, nearest
from mmcl_jax.evaluation.protocols.retrieval import ranks
from mmcl_jax.evaluation.sources.features import What, frozen_encoder
from mmcl_jax.evaluation.sources.pairs import compared
from mmcl_jax.evaluation.sources.reads import BOTH
from mmcl_jax.tasks import Class


def monitor(store: Store, config: ConfigDict, inputs: Inputs) -> "OnlineKNN":
    """Return the monitor of a training that `config.monitor` asks for."""
    return OnlineKNN(store, config, inputs, rows=config.monitor.rows, neighbours=config.monitor.neighbours)


class OnlineKNN:
    """Measures a model between steps of pretraining; calls after the first compile nothing.

    A fixed random subset of training rows is the bank, one of validation rows asks. Labels are the store's first that
    is a class; rows without one are left out of the accuracy. It is for watching: budgets, seeds and test are for
    `mmcl evaluate`.
    """

    def __init__(
        self, store: Store, config: ConfigDict, inputs: Inputs, *, rows: int = 2048, neighbours: int = 20
    ) -> None:
        """Read the rows: at most `rows` of either split. `neighbours` vote, or all labelled rows if they are fewer."""
        self._config, self._neighbours = config, neighbours
        self._modalities = tuple(sorted(config.encoders))
        self._inputs = {modality: inputs_of(config.views, modality) for modality in self._modalities}
        read = tuple(dict.fromkeys(name for names in self._inputs.values() for name in names))
        self._train, self._val = (_some(store, split, read, inputs, rows) for split in ("train", "val"))
        label = store.schema.label
        self._task = None if label is None else Class(label=label.name, classes=len(label.categories))
        self._label = "" if label is None else label.name
        told = (
            label is not None and "table" in self._modalities and columns_with_label(inputs.schema, store, label.name)
        )
        self._told = bool(told)
        self._fitted, self._pairs = inputs.fitted, compared(config, inputs)

    def __call__(self, model: Model) -> dict[str, float]:
        """Return `online/knn_top1/MODALITY` of every modality, if there are labels: weighted kNN on frozen features.

        And of image and table, if a term compares them, `online/retrieval_top1`: in how many validation rows (of those
        held that have both) the projection of the image finds that of its own table before all others, averaged with
        the other direction. Of other pairs it is `online/retrieval_top1/FIRST-SECOND`.
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
                found = np.stack([ranks(first, second), ranks(second, first)])
                name = "" if pair == BOTH else f"/{'-'.join(pair)}"
                metrics[f"online/retrieval_top1{name}"] = float((found == 1).mean())
        return metrics

    def _top1(self, model: Model, modality: str) -> float | None:
        """Return the accuracy; None if bank or queries have no label, or the label is a column of the input."""
        if self._task is None or ("table" in self._inputs[modality] and self._told):
            return None
        bank_codes, codes = self._codes(self._train), self._codes(self._val)
        known = (bank_codes >= 0) & self._present(self._train, modality)
        asked = (codes >= 0) & self._present(self._val, modality)
        if not known.any() or not asked.any():
            return None
        bank = self._encode(model, self._train, modality)[known]
        queries = self._encode(model, self._val, modality)[asked]
        cosines, places = nearest(bank, queries, min(self._neighbours, len(bank)))
        outputs = knn_outputs(cosines, bank_codes[known][places], task=self._task)
        return float((outputs.argmax(axis=1) == codes[asked]).mean())

    def _present(self, rows: Mapping[str, np.ndarray], modality: str) -> np.ndarray:
        every = np.ones(len(rows["id"]), bool)
        return np.all([rows.get(f"present/{name}", every) for name in self._inputs[modality]], axis=0)

    def _codes(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        return rows[f"target/{self._label}"]

    def _compared(self, model: Model, key: str) -> np.ndarray:
        """Return what terms compare of the validation rows: projections, or by the head "none" the features."""
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
        return encode({name: rows[name] for name in self._inputs[modality]})


def _some(store: Store, split: str, modalities: tuple[str, ...], inputs: Inputs, count: int) -> dict[str, np.ndarray]:
    """Return at most `count` rows of a split, always the same ones, in memory."""
    arrays = input_arrays(store, split, inputs, modalities)
    rows = np.sort(np.random.default_rng(0).permutation(len(arrays["id"]))[:count])
    return {name: np.asarray(array[rows]) for name, array in arrays.items()}
