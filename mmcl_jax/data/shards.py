"""The store's shards: ArrayRecord files in TFDS layout, written and read without TensorFlow.

`tfds.builder_from_directory(store)` opens them. Every example is `id` (row number in the source table, from 0), `key`
(the row's identifier, or its image path), `image` (uint8, fixed shape), `table` (float64 raw values; category codes;
NaN for missing) and, where there are labels, `labels` (float64, the same way) and `label` (int64, the code of the first
that is a class, -1 for none).
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import naming
from tensorflow_datasets.proto import tf_example_pb2

from mmcl_jax.data import flat
from mmcl_jax.data.schema import Schema
from mmcl_jax.data.workers import pool

SHARD_BYTES = 128 * 2**20
NAME = "store"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"

Example = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Shard:
    """Rows `start` to `stop` of a split, as the file `index` of `count`."""

    split: str
    index: int
    count: int
    start: int
    stop: int

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{NAME}-{self.split}.array_record-{self.index:05d}-of-{self.count:05d}"


def features_of(schema: Schema) -> Any:
    """The TFDS features of a store with this schema."""
    # As bytes: faster to read, and exact (by default TFDS keeps every float as float32).
    raw = tfds.features.Encoding.BYTES
    features = {
        "id": tfds.features.Scalar(np.int64),
        "key": tfds.features.Text(),
        "image": tfds.features.Tensor(shape=schema.image.stored, dtype=np.uint8, encoding=raw),
        "table": tfds.features.Tensor(shape=(len(schema.columns),), dtype=np.float64, encoding=raw),
    }
    if schema.labels:
        features["labels"] = tfds.features.Tensor(shape=(len(schema.labels),), dtype=np.float64, encoding=raw)
    if schema.label:
        features["label"] = tfds.features.Scalar(np.int64)
    return tfds.features.FeaturesDict(features)


def plan(sizes: dict[str, int], schema: Schema) -> list[Shard]:
    """Shards of about `SHARD_BYTES` for splits of these sizes."""
    row_bytes = int(np.prod(schema.image.stored)) + 8 * (len(schema.columns) + len(schema.labels)) + 64
    planned = []
    for split, size in sizes.items():
        count = max(1, -(-size * row_bytes // SHARD_BYTES))
        bounds = np.linspace(0, size, count + 1).astype(int).tolist()
        planned += [Shard(split, i, count, start, stop) for i, (start, stop) in enumerate(itertools.pairwise(bounds))]
    return planned


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes shards from the flat arrays in `directory` and the keys of every split's rows."""

    directory: Path
    schema: Schema
    keys: dict[str, list[str]]

    def __call__(self, shard: Shard) -> int:
        """Writes one shard; returns the bytes of its records."""
        arrays = flat.read(self.directory, shard.split, self.schema, images=True)
        keys = self.keys[shard.split]
        # Not compressed: pixels gain little, and writing would take longer than decoding them did.
        writer = array_record_module.ArrayRecordWriter(str(self.directory / shard.file), "group_size:1,uncompressed")
        written = 0
        for row in range(shard.start, shard.stop):
            record = _serialised({"key": keys[row], **{name: array[row] for name, array in arrays.items()}})
            writer.write(record)
            written += len(record)
        writer.close()
        return written


def _serialised(example: Example) -> bytes:
    """An example as TFDS would write it for `features_of`, which takes five times as long.

    The same bytes in every process: a protocol buffer's map is otherwise in the order of a random hash.
    """
    message = tf_example_pb2.Example()
    feature = message.features.feature
    for name, value in example.items():
        if name in ("id", "label"):
            feature[name].int64_list.value.append(int(value))
        else:
            feature[name].bytes_list.value.append(value.encode() if isinstance(value, str) else value.tobytes())
    return message.SerializeToString(deterministic=True)


def write_shards(
    writer: Writer, sizes: dict[str, int], *, workers: int = 1, progress: Callable[[int], object] = lambda rows: None
) -> list[Any]:
    """Writes all shards, in several processes if asked; returns the TFDS split infos.

    `progress` is told the number of rows that are written.
    """
    planned = plan(sizes, writer.schema)
    written: list[int] = []
    workers = min(workers, len(planned))
    # A few rows are written sooner than a process is begun.
    parallel = workers > 1 and sum(sizes.values()) > 2000
    with pool(workers) if parallel else _Here() as processes:
        for shard, count in zip(planned, processes.map(writer, planned), strict=True):
            written.append(count)
            progress(shard.stop - shard.start)
    return [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[shard.stop - shard.start for shard in planned if shard.split == split],
            num_bytes=sum(count for shard, count in zip(planned, written, strict=True) if shard.split == split),
            filename_template=naming.ShardedFileTemplate(
                data_dir=str(writer.directory), dataset_name=NAME, split=split, filetype_suffix="array_record"
            ),
        )
        for split in sizes
    ]


class _Here:
    """A pool that works in this process."""

    def __enter__(self) -> "_Here":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def map(self, function: Callable[[Shard], int], shards: Sequence[Shard]) -> Iterator[int]:
        return map(function, shards)


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


class StreamedImages:
    """The images of a split, read from the shards by row; it can be indexed by rows like an array.

    It opens its files when it first reads, so it can be sent to worker processes.
    """

    def __init__(self, directory: Path, split: str, shape: tuple[int, ...]) -> None:
        """Takes the store's folder, the split and the shape of one row."""
        self._paths = sorted(map(str, directory.glob(f"{NAME}-{split}.array_record-*")))
        self._readers: list[Any] | None = None
        info = tfds.builder_from_directory(str(directory)).info.splits[split]
        self._starts = np.concatenate([[0], np.cumsum(info.shard_lengths)])
        self.shape, self.dtype, self.ndim = (int(self._starts[-1]), *shape), np.dtype(np.uint8), 1 + len(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        places = np.arange(len(self))[rows]
        if places.ndim == 0:
            return self[places[None]][0]
        if self._readers is None:
            self._readers = [
                array_record_module.ArrayRecordReader(path, "readahead_buffer_size:0") for path in self._paths
            ]
        out = np.empty((len(places), *self.shape[1:]), np.uint8)
        owners = np.searchsorted(self._starts, places, side="right") - 1
        for shard in np.unique(owners):
            here = np.flatnonzero(owners == shard)
            records = self._readers[shard].read((places[here] - self._starts[shard]).tolist())
            for place, record in zip(here, records, strict=True):
                # The part of TFDS's decoder that is needed here; the whole of it takes ten times as long.
                feature = tf_example_pb2.Example.FromString(record).features.feature["image"]
                out[place] = np.frombuffer(feature.bytes_list.value[0], np.uint8).reshape(self.shape[1:])
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": None}
