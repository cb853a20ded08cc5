"""The store's shards: ArrayRecord files in TFDS layout, written and read without TensorFlow.

`tfds.builder_from_directory(store)` opens them. Every example is `id` (row number in the source table, from 0), `key`
(the row's identifier, or its image path), `group` where rows have one, and every entry: an array of fixed shape or, of
an entry that rows share or lack, its index (-1 for absent) in the data set `store/NAME`, whose split is `rows`. Where
there are labels, `label` is the code of the first that is a class, -1 for none.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import naming
from tensorflow_datasets.proto import tf_example_pb2

from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.data.workers import pool
from mmcl_jax.files import reading

SHARD_BYTES = 128 * 2**20
NAME = "store"
ROWS = "rows"  # the split of the data set of one entry
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_READ = 64  # records at once

Feature = Any  # of the protocol buffer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Records:
    """Consecutive records to be written: by feature, integers, texts, and arrays `[R, ...]` with indices of rows."""

    integers: Mapping[str, np.ndarray]
    texts: Mapping[str, Sequence[str]]
    arrays: Mapping[str, tuple[Path, np.ndarray]]

    def __len__(self) -> int:
        some = [*self.integers.values(), *(at for _, at in self.arrays.values())]
        return len(some[0])

    def part(self, start: int, stop: int) -> "Records":
        """Return the records `start` to `stop`."""
        return Records(
            integers={name: array[start:stop] for name, array in self.integers.items()},
            texts={name: texts[start:stop] for name, texts in self.texts.items()},
            arrays={name: (path, at[start:stop]) for name, (path, at) in self.arrays.items()},
        )

    def bytes_each(self) -> int:
        """Return about how long a record is."""
        mapped = (np.load(path, mmap_mode="r", allow_pickle=False) for path, _ in self.arrays.values())
        rows = zip(mapped, (at for _, at in self.arrays.values()), strict=True)
        return 64 + sum(array[:1].nbytes * int(np.prod(at.shape[1:], initial=1)) for array, at in rows)

    def write(self, file: Path) -> int:
        """Write the records as one file; return the bytes of all."""
        arrays = {
            name: (np.load(path, mmap_mode="r", allow_pickle=False), at) for name, (path, at) in self.arrays.items()
        }
        # Not compressed: pixels gain little, and writing would take longer than decoding them did.
        writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1,uncompressed")
        written = 0
        for row in range(len(self)):
            message = tf_example_pb2.Example()
            feature = message.features.feature
            for name, values in self.integers.items():
                feature[name].int64_list.value.extend(np.atleast_1d(values[row]).tolist())
            for name, texts in self.texts.items():
                feature[name].bytes_list.value.append(texts[row].encode())
            for name, (array, at) in arrays.items():
                feature[name].bytes_list.value.append(array[at[row]].tobytes())
            # The same bytes in every process: a protocol buffer's map is otherwise in the order of a random hash.
            record = message.SerializeToString(deterministic=True)
            writer.write(record)
            written += len(record)
        writer.close()
        return written


@dataclasses.dataclass(frozen=True)
class _Shard:
    """One file to write."""

    file: Path
    records: Records

    def __call__(self) -> int:
        return self.records.write(self.file)


def features_of(schema: Schema, indexed: Iterable[str], *, group: bool) -> dict[str, Any]:
    """Return the TFDS features of a store; the entries `indexed` are in data sets of their own."""
    features = {"id": tfds.features.Scalar(np.int64), "key": tfds.features.Text()}
    if group:
        features["group"] = tfds.features.Scalar(np.int64)
    for name, entry in schema.entries.items():
        if name in indexed:
            several = entry.pictures > 1
            features[name] = (
                tfds.features.Tensor(shape=(entry.pictures,), dtype=np.int64)
                if several
                else tfds.features.Scalar(np.int64)
            )
        else:
            features[name] = tensor(entry.stored, entry)
    if schema.label:
        features["label"] = tfds.features.Scalar(np.int64)
    return features


def tensor(shape: tuple[int, ...], entry: Entry) -> Any:
    """Return the TFDS feature of an array."""
    # As bytes: faster to read, and exact (by default TFDS keeps every float as float32).
    return tfds.features.Tensor(shape=shape, dtype=np.dtype(entry.dtype).type, encoding=tfds.features.Encoding.BYTES)


def write(
    directory: Path,
    name: str,
    splits: Mapping[str, Records],
    features: Mapping[str, Any],
    description: str,
    *,
    workers: int = 1,
    progress: Callable[[int], object] = lambda rows: None,
) -> None:
    """Write the data set `name` of these splits into a folder, in several processes if asked.

    `progress` is told the number of rows that are written.
    """
    directory.mkdir(exist_ok=True)
    for file in directory.glob(f"{name}-*.array_record-*"):  # of an earlier call that was stopped
        file.unlink()
    planned: list[tuple[str, _Shard]] = []
    for split, records in splits.items():
        count = max(1, -(-len(records) * records.bytes_each() // SHARD_BYTES))
        bounds = np.linspace(0, len(records), count + 1).astype(int).tolist()
        for index, (start, stop) in enumerate(itertools.pairwise(bounds)):
            file = directory / f"{name}-{split}.array_record-{index:05d}-of-{count:05d}"
            planned.append((split, _Shard(file, records.part(start, stop))))
    written: list[int] = []
    # A few rows are written sooner than a process is begun.
    parallel = min(workers, len(planned)) > 1 and sum(map(len, splits.values())) > 2000
    with pool(min(workers, len(planned))) if parallel else _Here() as processes:
        for (_, shard), size in zip(planned, processes.map(_Shard.__call__, [one for _, one in planned]), strict=True):
            written.append(size)
            progress(len(shard.records))
    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(shard.records) for of, shard in planned if of == split],
            num_bytes=sum(size for (of, _), size in zip(planned, written, strict=True) if of == split),
            filename_template=naming.ShardedFileTemplate(
                data_dir=str(directory), dataset_name=name, split=split, filetype_suffix="array_record"
            ),
        )
        for split in splits
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=str(directory),
        features=tfds.features.FeaturesDict(dict(features)),
        split_infos=infos,
        filename_template=_TEMPLATE,
        description=description,
        check_data=False,
    )


class _Here:
    """A pool that works in this process."""

    def __enter__(self) -> "_Here":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def map(self, function: Callable[[_Shard], int], shards: Sequence[_Shard]) -> Iterator[int]:
        return map(function, shards)


def apart(directory: Path, schema: Schema) -> set[str]:
    """Return the entries that are data sets of their own."""
    return {name for name in schema.entries if (directory / name).is_dir()}


def lengths(directory: Path, split: str) -> list[int]:
    """Return the number of records in each file of a split, as TFDS's `dataset_info.json` has it."""
    path = directory / "dataset_info.json"
    with reading(path, "put a copy of the file back, or prepare the store again"):
        found = next(one for one in json.loads(path.read_text())["splits"] if one["name"] == split)
        return [int(length) for length in found["shardLengths"]]


def files(directory: Path, name: str, split: str) -> list[Path]:
    """Return the files of a split in order."""
    return sorted(directory.glob(f"{name}-{split}.array_record-*"))


def examples(directory: Path, name: str, split: str) -> Iterator[Mapping[str, Feature]]:
    """Yield the features of every record of a split, in stored order."""
    for path in files(directory, name, split):
        reader = array_record_module.ArrayRecordReader(str(path), "readahead_buffer_size:0")
        for start in range(0, reader.num_records(), _READ):
            for record in reader.read(list(range(start, min(start + _READ, reader.num_records())))):
                yield tf_example_pb2.Example.FromString(record).features.feature


def decoded(feature: Feature, like: np.ndarray) -> np.ndarray:
    """Return the array in a feature, `[n, ...]`, where `like` is `[R, ...]` of the same rows."""
    return np.frombuffer(feature.bytes_list.value[0], like.dtype).reshape(-1, *like.shape[1:])


class StreamedRows:
    """Rows of an entry that are read from the shards; it can be indexed by row like an array (see `MappedRows`).

    It opens its files when it first reads, so it can be sent to worker processes.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        starts: np.ndarray,
        name: str,
        records: np.ndarray,
        entry: Entry,
        *,
        fill: float,
    ) -> None:
        """Take the files, the first record of each (and behind the last), and what to read.

        Args:
          paths: of the files.
          starts: `[len(paths) + 1]`.
          name: of the entry, which is the feature's.
          records: `[N]`, each of which has all pictures of a row, or `[N, V]`, of one picture each, -1 for absent.
          entry: what they are.
          fill: what is absent.
        """
        self._paths, self._starts, self._name, self._fill = list(map(str, paths)), starts, name, fill
        self._records, self._readers = records, dict[int, Any]()
        self.entry_shape, self.dtype = entry.shape, np.dtype(entry.dtype)
        self.shape = (len(records), *entry.stored)
        self.ndim = len(self.shape)
        self._one = self.shape[records.ndim :]  # of a record
        first = records if records.ndim == 1 else records[:, 0]
        self.present = first >= 0 if entry.optional else None
        every = np.full(len(records), entry.pictures) if records.ndim == 1 else (records >= 0).sum(axis=1)
        self.counts = every if entry.pictures > 1 else None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        wanted = self._records[rows]
        flat = np.ravel(wanted)
        out = np.full((len(flat), *self._one), self._fill, self.dtype)
        owners = np.searchsorted(self._starts, flat, side="right") - 1
        for shard in np.unique(owners[flat >= 0]):
            here = np.flatnonzero((owners == shard) & (flat >= 0))
            records = self._reader(int(shard)).read((flat[here] - self._starts[shard]).tolist())
            for place, record in zip(here, records, strict=True):
                # The part of TFDS's decoder that is needed here; the whole of it takes ten times as long.
                feature = tf_example_pb2.Example.FromString(record).features.feature[self._name]
                out[place] = np.frombuffer(feature.bytes_list.value[0], self.dtype).reshape(self._one)
        return out.reshape(*np.shape(wanted), *self._one)

    def _reader(self, shard: int) -> Any:
        if shard not in self._readers:
            path = self._paths[shard]
            self._readers[shard] = array_record_module.ArrayRecordReader(path, "readahead_buffer_size:0")
        return self._readers[shard]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": {}}
