"""The store's shards: ArrayRecord files in TFDS layout, written and read without TensorFlow.

`tfds.builder_from_directory(store)` opens them. Every example has `id` (row number in the source table, from 0), `key`
(the row's identifier or image path), `group` in a store with groups, `label` in a store with a class label (its code,
-1 for none), and all entries. An entry is an array of fixed shape; or, if rows share or lack it, an index (-1 for
absent) into the data set `store/NAME`, whose split is `rows`.
"""

import contextlib
import dataclasses
import functools
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import naming
from tensorflow_datasets.proto import tf_example_pb2

from mmcl_jax.border import read_json, typed
from mmcl_jax.data.engines.engine import Engine, Processes, plain
from mmcl_jax.data.format.checked import ANEW
from mmcl_jax.data.schema import Entry, Schema
from mmcl_jax.errors import UserError, check

SHARD_BYTES = 128 * 2**20
NAME = "store"
ROWS = "rows"  # the split of the data set of one entry
INFO = "dataset_info.json"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_READ = 64  # records that are read at once
_FEW = 2000  # records that take less time to write than a process takes to start

Feature = Any  # `tf.train.Feature`, a protocol buffer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Records:
    """Consecutive records to write. `arrays` has, by feature, the file of an array `[R, ...]` and the rows to take."""

    integers: Mapping[str, np.ndarray]
    texts: Mapping[str, Sequence[str]]
    arrays: Mapping[str, tuple[Path, np.ndarray]]

    def __len__(self) -> int:
        columns = [*self.integers.values(), *(at for _, at in self.arrays.values())]
        return len(columns[0])

    def part(self, start: int, stop: int) -> "Records":
        """Return the records `start` to `stop`."""
        return Records(
            integers={name: array[start:stop] for name, array in self.integers.items()},
            texts={name: texts[start:stop] for name, texts in self.texts.items()},
            arrays={name: (path, at[start:stop]) for name, (path, at) in self.arrays.items()},
        )

    def record_bytes(self) -> int:
        """Return the approximate size of a record."""
        mapped = (np.load(path, mmap_mode="r", allow_pickle=False) for path, _ in self.arrays.values())
        rows = zip(mapped, (at for _, at in self.arrays.values()), strict=True)
        return 64 + sum(array[:1].nbytes * int(np.prod(at.shape[1:], initial=1)) for array, at in rows)

    def to_json(self) -> dict[str, Any]:
        """Return the records as JSON values."""
        return {
            "integers": {name: values.tolist() for name, values in self.integers.items()},
            "texts": {name: list(texts) for name, texts in self.texts.items()},
            "arrays": {name: (str(path), at.tolist()) for name, (path, at) in self.arrays.items()},
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Records":
        """Return the records of `to_json`."""
        return cls(
            integers={name: np.array(values, np.int64) for name, values in raw["integers"].items()},
            texts=raw["texts"],
            arrays={name: (Path(path), np.array(at, np.int64)) for name, (path, at) in raw["arrays"].items()},
        )

    def write(self, file: Path) -> int:
        """Write the records as one file, which appears whole, and return their total size in bytes."""
        arrays = {
            name: (np.load(path, mmap_mode="r", allow_pickle=False), at) for name, (path, at) in self.arrays.items()
        }
        # Pixels hardly compress, and compressing them would take longer than decoding the images did.
        # A runner of Apache Beam may try a shard again, or twice at once; every attempt writes the same bytes.
        partial = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
        writer = array_record_module.ArrayRecordWriter(str(partial), "group_size:1,uncompressed")
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
            # The map of a protocol buffer is otherwise in the order of a hash that differs between processes.
            record = message.SerializeToString(deterministic=True)
            writer.write(record)
            written += len(record)
        writer.close()
        partial.rename(file)
        return written


def features_of(schema: Schema, indexed: Iterable[str], *, group: bool) -> dict[str, Any]:
    """Return the TFDS features of a store; the entries `indexed` are indices into their own data sets."""
    features = {"id": tfds.features.Scalar(np.int64), "key": tfds.features.Text()}
    if group:
        features["group"] = tfds.features.Scalar(np.int64)
    for name, entry in schema.entries.items():
        if name in indexed:
            features[name] = (
                tfds.features.Tensor(shape=(entry.pictures,), dtype=np.int64)
                if entry.pictures > 1
                else tfds.features.Scalar(np.int64)
            )
        else:
            features[name] = tensor(entry.stored, entry)
    if schema.label:
        features["label"] = tfds.features.Scalar(np.int64)
    return features


def tensor(shape: tuple[int, ...], entry: Entry) -> Any:
    """Return the TFDS feature of an array of the entry."""
    # Bytes are faster to read, and exact: by default TFDS stores every float as float32.
    return tfds.features.Tensor(shape=shape, dtype=np.dtype(entry.dtype).type, encoding=tfds.features.Encoding.BYTES)


def write(
    directory: Path,
    name: str,
    splits: Mapping[str, Records],
    features: Mapping[str, Any],
    description: str,
    *,
    engine: Engine | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> None:
    """Write the data set `name` with these splits into a folder, by `engine` or, if that is None, by this process.

    `progress` is called with the number of rows of every file that has been written.
    """
    directory.mkdir(exist_ok=True)
    for file in directory.glob(f"{name}-*.array_record-*"):  # left by an earlier call that was stopped
        file.unlink()
    planned: list[tuple[str, Path, Records]] = []
    for split, records in splits.items():
        count = max(1, -(-len(records) * records.record_bytes() // SHARD_BYTES))
        bounds = np.linspace(0, len(records), count + 1).astype(int).tolist()
        for index, (start, stop) in enumerate(itertools.pairwise(bounds)):
            file = directory / f"{name}-{split}.array_record-{index:05d}-of-{count:05d}"
            planned.append((split, file, records.part(start, stop)))
    if engine is None or sum(map(len, splits.values())) <= _FEW:
        engine = Processes()
    written = [0] * len(planned)
    items = ((str(file), records.to_json()) for _, file, records in planned)
    with contextlib.closing(engine.run(functools.partial(plain, _write_file), items)) as sizes:
        for index, size in sizes:
            written[index] = size
            progress(len(planned[index][2]))
    for file in directory.glob(f"{name}-*.array_record-*.*"):  # of attempts that did not end
        file.unlink()
    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(records) for of, _, records in planned if of == split],
            num_bytes=sum(size for (of, _, _), size in zip(planned, written, strict=True) if of == split),
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


def _write_file(item: tuple[str, Mapping[str, Any]]) -> int:
    """Write one file of records, `(path, Records.to_json())`, and return the size of its records."""
    return Records.from_json(item[1]).write(Path(item[0]))


def apart(directory: Path, schema: Schema) -> set[str]:
    """Return the names of the entries that have data sets of their own."""
    return {name for name in schema.entries if (directory / name).is_dir()}


def lengths(directory: Path, split: str) -> list[int]:
    """Return the number of records in each file of a split, from `dataset_info.json`."""
    path = directory / INFO
    splits = typed(_Info, _known(_Info, read_json(path, dict[str, Any], ANEW)), str(path), ANEW)["splits"]
    infos = [typed(_Split, _known(_Split, info), f"{path}: splits", ANEW) for info in splits]
    of_split = next((info for info in infos if info["name"] == split), None)
    check(of_split is not None, f"{path} has no split {split!r}; {ANEW}.")
    texts = of_split["shardLengths"] if of_split else ()
    for text in texts:
        check(text.isdecimal() and len(text) < 19, f"{path}: splits: shardLengths: {text!r} is no number; {ANEW}.")
    return [int(text) for text in texts]


class _Info(TypedDict):
    """What is read of `dataset_info.json`, which TFDS writes."""

    splits: list[dict[str, Any]]


class _Split(TypedDict):
    name: str
    shardLengths: list[str]


def _known(kind: Any, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the fields of a type, without what else TFDS writes."""
    return {name: value for name, value in raw.items() if name in kind.__annotations__}


def is_shard(name: str) -> bool:
    """Return whether a file of a store is one of its shards."""
    return ".array_record-" in name


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
    """Return the array `[n, ...]` in a feature, with the type and row shape of `like` `[R, ...]`."""
    return np.frombuffer(feature.bytes_list.value[0], like.dtype).reshape(-1, *like.shape[1:])


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turn the exceptions of reading a damaged shard, whose format has checksums, into a `UserError`."""
    try:
        yield
    except Exception as error:  # the reader of records and protocol buffers raise errors of many kinds
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{path} is damaged ({reason}); let mmcl check --repair make it again from the folder flat of the store, "
            "or put a copy of the file back."
        ) from error


class StreamedRows:
    """Rows of an entry that are read from the shards when they are indexed, like `MappedRows`.

    The files are opened at the first read, so the object can be sent to worker processes.
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
        """Store the files, and the records to read from them.

        Args:
          paths: paths of the files.
          starts: `[len(paths) + 1]`, the index of the first record of each file, and the number of all records.
          name: name of the entry and of its feature.
          records: index of the record of each row, `[N]`, with all images of the row, or `[N, V]`, with one image per
            record; -1 for absent.
          entry: description of the entry.
          fill: value of absent rows.
        """
        self._paths, self._starts, self._name, self._fill = list(map(str, paths)), starts, name, fill
        self._records, self._readers = records, dict[int, Any]()
        self.entry_shape, self.dtype = entry.shape, np.dtype(entry.dtype)
        self.shape = (len(records), *entry.stored)
        self.ndim = len(self.shape)
        self._record_shape = self.shape[records.ndim :]
        first = records if records.ndim == 1 else records[:, 0]
        self.present = first >= 0 if entry.optional else None
        counts = np.full(len(records), entry.pictures) if records.ndim == 1 else (records >= 0).sum(axis=1)
        self.counts = counts if entry.pictures > 1 else None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        indices = self._records[rows]
        flat = np.ravel(indices)
        out = np.full((len(flat), *self._record_shape), self._fill, self.dtype)
        owners = np.searchsorted(self._starts, flat, side="right") - 1
        for shard in np.unique(owners[flat >= 0]):
            in_shard = np.flatnonzero((owners == shard) & (flat >= 0))
            with _reading(self._paths[shard]):
                records = self._reader(int(shard)).read((flat[in_shard] - self._starts[shard]).tolist())
                for index, record in zip(in_shard, records, strict=True):
                    # The decoder of TFDS does more than this, and takes ten times as long.
                    feature = tf_example_pb2.Example.FromString(record).features.feature[self._name]
                    out[index] = np.frombuffer(feature.bytes_list.value[0], self.dtype).reshape(self._record_shape)
        return out.reshape(*np.shape(indices), *self._record_shape)

    def _reader(self, shard: int) -> Any:
        if shard not in self._readers:
            path = self._paths[shard]
            self._readers[shard] = array_record_module.ArrayRecordReader(path, "readahead_buffer_size:0")
        return self._readers[shard]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": {}}
