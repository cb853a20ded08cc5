"""`mj.reproduce`: a table of a paper, ours beside the published numbers."""

import dataclasses
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcl_jax.api.given import AnyPath, command_of, overriding, path_of, several
from mmcl_jax.border import read_summed
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.page.html import element
from mmcl_jax.reproduce.run import Reproduction
from mmcl_jax.reproduce.run import reproduce as work

_DEFAULT = Reproduction(table="", data=Path(), out=Path())


@dataclasses.dataclass(frozen=True, repr=False)
class Reproduced:
    """The files of a table; it prints as the table, and shows itself as one in a notebook.

    Attributes:
      directory: with `table.html`, `table.txt` and `results.json`.
      finished: False if a training was asked to stop; the same call continues.
    """

    directory: Path
    finished: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the folder, whether the table is finished and, if it is, the content of `results.json`."""
        path, remedy = self.directory / "results.json", "the same call writes it again"
        results = read_summed(path, dict[str, Any], remedy) if self.finished else None
        return {"directory": self.directory, "finished": self.finished, "results": results}

    def __repr__(self) -> str:
        text = self.directory / "table.txt"
        return text.read_text() if self.finished else f"{self.directory}: not finished; the same call continues"

    def _repr_html_(self) -> str:
        if not self.finished:
            return element("p", repr(self))
        page = html.escape((self.directory / "table.html").read_text())
        return f'<iframe sandbox srcdoc="{page}" style="width:100%;height:40em;border:0"></iframe>'


def reproduce(
    table: str,
    *,
    data: Store | AnyPath,
    out: AnyPath,
    variant: str = _DEFAULT.variant,
    seeds: int = _DEFAULT.seeds,
    folds: int = _DEFAULT.folds,
    epochs: int | None = _DEFAULT.epochs,
    methods: str | Iterable[str] = _DEFAULT.methods,
    columns: str | Iterable[str] = _DEFAULT.columns,
    tune: AnyPath | None = _DEFAULT.tune,
    label: str | None = _DEFAULT.label,
    downstream: Mapping[str, Store | AnyPath] | Sequence[str] = (),
    raw: AnyPath | None = _DEFAULT.raw,
    draws: int | None = _DEFAULT.draws,
    learning_rates: float | Iterable[float] | None = _DEFAULT.learning_rates,
    max_epochs: int | None = _DEFAULT.max_epochs,
    trials: int | None = _DEFAULT.trials,
    title: str = _DEFAULT.title,
    overrides: Mapping[str, Any] | Sequence[str] = (),
) -> Reproduced:
    """Reproduce a table of a paper: train what it needs, evaluate, and write it beside the published numbers.

    The same from the command line: `mmcl reproduce TABLE --data DATA --out OUT`, with the same options. Called again
    with the same arguments, it continues.

    Args:
      table: its name; `mmcl reproduce --help` lists them.
      data: the store to train and evaluate on.
      out: the folder of all tables of this store, which share runs.
      variant: size and settings of the configs: "digits", "cars", "dvm", "cardiac" or "own"; of ContIG's tables
        "fundus" or "ukb", of LoVT's "mimic" or "chest".
      seeds: pretrainings of each method.
      folds: of the store, on each of which every seed is pretrained and tested; 0 for the store's own splits.
      epochs: of each pretraining; by default as the config says.
      methods: rows of the table, such as "lovt,lovt_clip"; all by default, and the reference row always. Their names
        are those of runs that all tables of `out` share, so those of LoVT's rivals begin with "lovt_".
      columns: columns of the table, by the names of `results.json`, such as "yolo-frozen-10"; all by default.
      tune: a TOML file with as many trials of every method; the best on validation makes its numbers.
      label: to predict; by default the store's first that is a class, or, in tables that take numbers, its first.
        Columns of ContIG's tables have labels of their own.
      downstream: the stores that columns of "contig/table1" are trained and tested on, such as `{"aptos": "stores/a"}`,
        or texts `NAME=STORE`; columns without a store are left out. Of "contig/table2", the store `cohort` of people
        whom no run has seen; of "lovt/rsna" and "lovt/ablation" `rsna`, of "lovt/other" `covid_rural`, `siim`,
        `object_cxr` and `nih_boxes`.
      raw: the folder that analyses read beside a store: in the layout of the recipe "fundus", of "contig/table2" the
        genotypes, covariates and truth of the cohort, of "contig/figure3" and "contig/figure4" the truth of `data`; of
        "lovt/analysis", the folder that `mmcl generate chest` wrote, without which no sentence points.
      draws: of labels, per pretraining; by default 3 for probes, else 1.
      learning_rates: to choose from; by default the protocol's own.
      max_epochs: of probes and fine-tuning; by default the protocol's own.
      trials: settings of each rival to choose from; by default 6.
      title: of the page; by default the names of table and store.
      overrides: values of config keys of every pretraining, such as `{"dtype": "bfloat16"}`.

    Returns:
      The files of the table.

    Raises:
      UserError: bad input, found before anything is trained.
    """
    downstream = _texts(downstream)
    command = command_of(reproduce, dict(locals()), bare=("table",))
    request = Reproduction(
        table=table,
        data=path_of(data, "--data"),
        out=path_of(out, "--out"),
        variant=variant,
        seeds=seeds,
        folds=folds,
        epochs=epochs,
        methods=several(methods),
        columns=several(columns),
        tune=None if tune is None else path_of(tune, "--tune"),
        label=label,
        downstream=_stores(downstream),
        raw=None if raw is None else path_of(raw, "--raw"),
        draws=draws,
        learning_rates=None if learning_rates is None else several(learning_rates),
        max_epochs=max_epochs,
        trials=trials,
        title=title,
        overrides=tuple(overriding(overrides)),
        command=command,
    )
    finished = work(request)
    return Reproduced(request.out / table, finished)


def _texts(given: Mapping[str, Store | AnyPath] | Sequence[str]) -> tuple[str, ...]:
    """Return downstream stores as the texts `NAME=STORE` of the command line."""
    if isinstance(given, Mapping):
        return tuple(f"{name}={path_of(store, '--downstream')}" for name, store in given.items())
    return several(given)


def _stores(texts: Sequence[str]) -> dict[str, Path]:
    """Return the path of every downstream store by its name.

    Raises:
      UserError: a text is not `NAME=STORE`, or names a store again.
    """
    stores: dict[str, Path] = {}
    for text in texts:
        name, separator, path = str(text).partition("=")
        check(bool(separator and name and path), f"--downstream {text}: write NAME=STORE, such as aptos=stores/aptos.")
        check(name not in stores, f"--downstream {text}: {name!r} is named twice; name it once.")
        stores[name] = path_of(path, "--downstream")
    return stores
