"""The store's shards: ArrayRecord files in TFDS layout, written and read without TensorFlow.

`tfds.builder_from_directory(store)` opens them. Every example is `id` (row number in the source table), `key` (the
row's identifier, or its image path), `image` (uint8, fixed shape), `table` (float64 raw values; category codes; NaN for
missing) and, where there is a label, `label` (int64).
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer, naming

from mmcl_jax.data.schema import Schema

SHARD_BYTES = 256 * 2**20
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"

Example = dict[str, Any]


def features_of(schema: Schema) -> Any:
    """The TFDS features of a store with this schema."""
    # As bytes: faster to read, and exact (by default TFDS keeps every float as float32).
    raw = tfds.features.Encoding.BYTES
    features = {
        "id": tfds.features.Scalar(np.int64),
        "key": tfds.features.Text(),
        "image": tfds.features.Tensor(shape=schema.image.shape, dtype=np.uint8, encoding=raw),
        "table": tfds.features.Tensor(shape=(len(schema.columns),), dtype=np.float64, encoding=raw),
    }
    if schema.label:
        features["label"] = tfds.features.Scalar(np.int64)
    return tfds.features.FeaturesDict(features)


def write_shards(
    directory: Path, name: str, split: str, examples: Iterable[Example], count: int, schema: Schema
) -> Any:
    """Writes `count` examples as shards of about `SHARD_BYTES`; returns the TFDS split info."""
    features = features_of(schema)
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    row_bytes = int(np.prod(schema.image.shape)) + 8 * len(schema.columns) + 64
    shards = max(1, -(-count * row_bytes // SHARD_BYTES))
    bounds = np.linspace(0, count, shards + 1).astype(int)
    stream, written = iter(examples), 0
    for shard, (start, stop) in enumerate(itertools.pairwise(bounds)):
        path = directory / f"{name}-{split}.array_record-{shard:05d}-of-{shards:05d}"
        writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
        for _ in range(stop - start):
            record = serializer.serialize_example(features.encode_example(next(stream)))
            writer.write(record)
            written += len(record)
        writer.close()
    template = naming.ShardedFileTemplate(
        data_dir=str(directory), dataset_name=name, split=split, filetype_suffix="array_record"
    )
    return tfds.core.SplitInfo(
        name=split, shard_lengths=np.diff(bounds).tolist(), num_bytes=written, filename_template=template
    )


def write_metadata(directory: Path, schema: Schema, infos: list[Any], description: str) -> None:
    """Writes `features.json` and `dataset_info.json`, which make the shards a TFDS data set."""
    tfds.folder_dataset.write_metadata(
        data_dir=str(directory),
        features=features_of(schema),
        split_infos=infos,
        filename_template=_TEMPLATE,
        description=description,
        check_data=False,
    )


def read_shards(directory: Path, split: str) -> Iterator[Example]:
    """The examples of a split in stored order, as NumPy values."""
    yield from tfds.builder_from_directory(str(directory)).as_data_source(split=split)
