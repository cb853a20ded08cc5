"""A fusion is embedded from all its inputs, and rows that lack one of them are listed."""

import jax
import numpy as np

from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.export.embeddings.encoders import readers
from mmcl_jax.export.embeddings.stored import StoredRows
from mmcl_jax.training.runs.run import Run
from tests.evaluation.sources.test_fusion import by_hand, run

__all__ = ["run"]  # a fixture


def test_a_fusion_reads_all_its_inputs(run: Run) -> None:
    (reader,) = readers(Source("random", run), ["fusion"], "features", jax.devices()[:1])
    assert set(reader.inputs) == {"image", "scores0"}
    source = StoredRows(run, run.store(), reader.inputs, split="test", size=256)
    ((_, chunk),) = source.chunks(lambda index: False)
    arrays = input_arrays(run.store(), "test", run.inputs)
    absent = np.flatnonzero(~arrays["present/scores0"]).tolist()
    assert len(absent) > 0
    assert chunk.reasons(reader.inputs) == dict.fromkeys(absent, "The row has no 'scores0'.")
    kept = np.flatnonzero(arrays["present/scores0"])
    expected = by_hand(run, {name: np.asarray(arrays[name][kept]) for name in reader.inputs})
    np.testing.assert_allclose(reader(chunk.given(reader.spare))[kept], expected, rtol=1e-4, atol=1e-5)
