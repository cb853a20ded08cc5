"""`mj.embed`: rows to a Parquet file of embeddings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import polars as pl

from mmcl_jax import __version__
from mmcl_jax.api.frames import frame_of, is_frame
from mmcl_jax.api.given import AnyPath, path_of, several
from mmcl_jax.api.images import beside, is_folder
from mmcl_jax.border import parse, to_json
from mmcl_jax.bucket.border import addressed
from mmcl_jax.compilation import use_cache
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.kept import KeptHead, load_head
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.export.embeddings.chunk import RowSource
from mmcl_jax.export.embeddings.encoders import Output, check_head, check_name, inputs_of_reader, readers
from mmcl_jax.export.embeddings.make import (
    DTYPES,
    Embedding,
    about_file,
    rows_of_chunk,
    write_embeddings,
)
from mmcl_jax.export.embeddings.new import FILE, NewData, NewRows, path_identity
from mmcl_jax.export.embeddings.parts import Parts, metadata_of
from mmcl_jax.export.embeddings.requested import RequestedRows
from mmcl_jax.export.embeddings.result import Embeddings
from mmcl_jax.export.embeddings.stored import StoredRows
from mmcl_jax.prepare.images.memory import ImageArrays
from mmcl_jax.prepare.like import Like
from mmcl_jax.prepare.request import Request
from mmcl_jax.targets import check_apart, check_file
from mmcl_jax.text import called
from mmcl_jax.training.processes import begin, check_same
from mmcl_jax.training.runs.run import Checkpoint, Run


@addressed(
    raw=("table", "images", "follow_links", "request"), reads=("run", "store", "head"), writes=("out",), shared=("out",)
)
def embed(
    run: Run | AnyPath,
    table: AnyPath | Any | None = None,
    images: AnyPath | Any | None = None,
    *,
    out: AnyPath,
    image_column: str | Iterable[str] = (),
    key_column: str | None = None,
    follow_links: AnyPath | None = None,
    separator: str | None = None,
    encoding: str = "utf-8",
    request: AnyPath | Mapping[str, Any] | None = None,
    store: Store | AnyPath | None = None,
    split: str | None = None,
    checkpoint: Checkpoint | None = None,
    input: str | Iterable[str] | None = None,
    output: Output = "features",
    head: AnyPath | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    workers: int = 1,
    distributed: bool = False,
) -> Embeddings:
    """Embed new rows, or the rows of a store, into a Parquet file.

    The same from the command line: `mmcl embed --run RUN --table TABLE --images IMAGES --out OUT`, with the same
    options. Rows are read in pieces, so that neither the input nor the output need fit into memory. A call that was
    stopped continues, and the file is the same to the byte as that of a call that was not.

    The file has a row per row of the input, in its order: `key`, `row` (its number in the table, from 0), `split` (of a
    store), `modality` and `features` (or `projection`), a list of fixed size. Rows that cannot be embedded are listed
    beside it, with the reasons: beside `new.parquet` in `new.unembedded.csv`.

    Args:
      run: whose encoders embed, opened or its folder.
      table: a CSV, TSV or Parquet file, or a data frame; its cells are read as those that the run was trained on.
      images: the folder of the images, or an image per row of the data frame. Without a table, all files in the folder
        are embedded.
      out: the Parquet file to make.
      image_column: the column with the image path, or several; by default as in the training data.
      key_column: the column of the keys; by default as in the training data, and else the image path is the key.
      follow_links: another folder that links in `images` may lead into.
      separator: between the cells of a text file; by default a comma, or a tab in .tsv.
      encoding: of a text file.
      request: a JSON file (or a dict) as for `mj.prepare`, with entries of any kinds, in place of a table and images.
      store: a store, in place of raw data.
      split: of the store: "train", "val" or "test"; by default all.
      checkpoint: "latest", "best" (the lowest validation loss) or a step; by default that of an opened run, and else
        the latest.
      input: what is embedded: a modality, or several side by side such as "image+table"; or several of these, each of
        which has rows of its own in the file. By default the first encoder of the run that the data suffice for.
      output: "features" of the encoders, or their "projection" into the space of the objective; `MODALITY:HEAD` names
        a projector.
      head: the folder of a head that `mj.evaluate(..., keep=True)` kept, whose predictions are added.
      dtype: of the numbers in the file.
      workers: processes that decode images. With more than one, call it under `if __name__ == "__main__":`; the command
        line takes all cores.
      distributed: this process is one of several of a cluster's job, which share the folder of `out`.

    Returns:
      The file, and what became of the rows.

    Raises:
      UserError: the run, the data or an option cannot be used; or the file was begun with other arguments.

    Example:
      >>> embeddings = mj.embed("runs/ads", "new.csv", "new/", out="embeddings.parquet")  # doctest: +SKIP
      >>> embeddings.to_frame()["features"].to_numpy().shape  # doctest: +SKIP
      (1000, 512)
    """
    use_cache()
    begin(distributed=distributed)
    path = path_of(out, "--out")
    check_file(path, "--out")
    check_apart(path, {"--table": table, "--request": request}, "--out")
    listed_folder = images if table is None else None
    check(
        not (isinstance(listed_folder, str | Path) and path.resolve().is_relative_to(Path(listed_folder).resolve())),
        f"--out: {path} lies in the folder of --images, all of whose files are embedded; name another path.",
    )
    check(path.suffix == ".parquet", f"--out: {path} must end in .parquet.")
    check(output in ("features", "projection"), f"--output: {output!r} is neither features nor projection.")
    check(dtype in DTYPES, f"--dtype: {dtype!r} is neither float32 nor float16.")
    check(dtype == "float32" or hasattr(pl, "Float16"), "--dtype float16 needs a newer polars; update it.")
    check(workers > 0, f"--workers: {workers} is not positive.")
    opened = run if isinstance(run, Run) else Run.open(path_of(run, "--run"))
    opened = opened if checkpoint is None else opened.at(checkpoint)
    raw = table is not None or images is not None
    sources = (raw, request is not None, store is not None)
    check(sum(sources) == 1, "Give either --table and --images, or --request, or --store.")
    given = {
        "image-column": bool(several(image_column)),
        "key-column": key_column is not None,
        "separator": separator is not None,
        "encoding": encoding != "utf-8",
    }
    for option, is_given in given.items():
        check(raw or not is_given, f"--{option}: it tells how --table is read; leave it out.")
    check(store is None or follow_links is None, "--follow-links: a store holds its images; leave it out.")
    check(split is None or store is not None, "--split: only a store has splits; leave it out, or give --store.")
    kept = None if head is None else load_head(path_of(head, "--head"), opened)
    if kept is not None:
        check_head(kept, head)
        own = f"--head: it belongs to the checkpoint of step {kept.source.run.step()}; leave --checkpoint out."
        check(checkpoint is None or kept.source.run.step() == opened.step(), own)
        opened = kept.source.run
    data = _data(table, images, image_column, key_column, follow_links, separator, encoding) if raw else None
    names = _names(opened, input, None if kept is None else "+".join(kept.trained.reads), data)
    for name in names:
        check_name(opened, name, output)

    embedding = _embedding(opened, kept, names, output, dtype, with_split=store is not None)
    asked = None if request is None else _request(request, follow_links)
    if store is not None and not isinstance(store, Store):
        store = Store.open(path_of(store, "--store"))
    arguments = {
        "version": __version__,
        "run": [called(opened.directory.absolute()), *Source("run", opened).of().values()],
        "input": list(names),
        "output": output,
        "dtype": dtype,
        "head": None if kept is None else dict(kept.of),
        **({} if store is None else {"store": store.fingerprint, "split": split}),
    }
    check_same({**arguments, "--out": path})
    arguments |= {
        **({} if data is None else data.identity()),
        **({} if asked is None else {"request": asked.to_json(), "files": _files(asked)}),
    }
    arguments, parts = parse(to_json(arguments)), Parts(path)
    with parts.making(arguments) as complete:
        if not complete:
            specs = {name: opened.inputs.specs[name] for name in embedding.inputs}
            size = rows_of_chunk(specs)
            rows: RowSource | None = None
            unchanged: Callable[[], None] | None = None
            if data is not None:
                rows = NewRows(opened, _fit(opened, data), data, list(specs), size=size, workers=workers)
            elif asked is not None:
                folder = parts.folder / f"rows-{jax.process_index()}"
                rows = RequestedRows(opened, asked, list(specs), folder, size=size, workers=workers)
            elif store is not None:
                rows = stored = StoredRows(opened, store, list(specs), split=split, size=size)
                unchanged = stored.unchanged
            width = embedding.width(specs)
            about = {**about_file(opened, embedding, width), "arguments": arguments}
            assert rows is not None
            write_embeddings(rows, embedding, parts, embedding.empty(width), about, unchanged=unchanged)
    metadata = metadata_of(path)
    assert metadata is not None
    return Embeddings(path=path, unembedded=parts.unembedded, metadata=metadata)


def _embedding(
    run: Run,
    head: KeptHead | None,
    names: Sequence[str],
    output: Output,
    dtype: Literal["float32", "float16"],
    *,
    with_split: bool,
) -> Embedding:
    """Return how rows are embedded, on all devices of this process."""
    devices, source = jax.local_devices(), Source("run", run) if head is None else head.source
    made, of_head = list(readers(source, names, output, devices)), None
    if head is not None and head.standard is not None:
        (of_head,) = readers(source, ["+".join(head.trained.reads)], "features", devices)
        made = [of_head if one.name == of_head.name and output == "features" else one for one in made]
    return Embedding(
        readers=tuple(made), output=output, dtype=dtype, head=head, head_reader=of_head, with_split=with_split
    )


def _data(
    table: Any, images: Any, image_column: Any, key_column: Any, follow_links: Any, separator: Any, encoding: str
) -> NewData:
    """Return the table and images as callers give them."""
    columns = several(image_column)
    frame: Path | pl.DataFrame | None = None
    if is_frame(table):
        frame = frame_of(table, "table")
    elif table is not None:
        frame = path_of(table, "--table")
    where: Path | ImageArrays | None = None
    if images is not None and is_folder(images):
        where = path_of(images, "--images")
    elif images is not None:
        check(not columns, "image_column: images in memory are named by their index.")
        check(not isinstance(frame, Path), "images: images in memory need a table in memory; give a data frame.")
        assert not isinstance(frame, Path)
        frame, where, columns = beside(frame, images)
    return NewData(
        table=frame,
        images=where,
        image_column=columns,
        key_column=key_column,
        separator=separator,
        encoding=encoding,
        follow_links=None if follow_links is None else path_of(follow_links, "--follow-links"),
    ).with_table()


def _names(run: Run, input: Any, of_head: str | None, data: NewData | None) -> tuple[str, ...]:
    """Return what is embedded: as asked for, or what the head reads, or the first encoder that the data suffice for."""
    names = several(input)
    for name in names:
        check(names.count(name) == 1, f"--input: {name!r} is named twice; name it once.")
    if names or of_head is not None:
        return names or (str(of_head),)
    pictures_alone = data is not None and data.image_column == (FILE,)
    given = {} if data is None else {"image": data.images is not None, "table": not pictures_alone}
    for name in run.config.encoders:
        kinds = [run.inputs.specs[of].kind for of in inputs_of_reader(run, name) if of in run.inputs.specs]
        if data is None or all(given.get(kind, False) for kind in kinds):
            return (name,)
    check(False, f"--input: no encoder of {run.directory} reads this data; it has {', '.join(run.config.encoders)}.")
    raise AssertionError


def _fit(run: Run, data: NewData) -> Request:
    """Return the request of the run's store, which decides how images are made to fit.

    Raises:
      UserError: the run reads entries of several files, or does not record the request.
    """
    if data.images is None:
        return Request()
    like = Like.open(run.directory)
    check(
        not like.several,
        f"{run.directory} was trained on entries of several files; name the files of the new rows with --request.",
    )
    return like.request


def _request(request: Any, follow_links: Any) -> Request:
    over = {} if follow_links is None else {"follow_links": path_of(follow_links, "--follow-links")}
    if isinstance(request, Mapping):
        return Request.from_json({**request, **over}, "request").fetched()
    return Request.read(path_of(request, "--request"), over).fetched()


def _files(request: Request) -> list[Any]:
    """Return what tells whether a file of a request has changed."""
    paths = [request.table] if isinstance(request.table, Path) else []
    for one in request.entries.values():
        paths += [path for path in (one.file, one.names, one.keys) if path is not None]
    return [path_identity(path) for path in paths if path.is_file()]
