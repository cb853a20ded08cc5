"""The tables of the taxonomy of Fedorov et al.: every union of its four edges, and their rivals, on two modalities.

An encoder of each modality is probed by itself: frozen features, and a linear head. Every method has the same encoder,
optimizer, length and seeds; nothing is chosen for one method alone.
"""

import dataclasses
import itertools
from collections.abc import Mapping

from mmcl_jax.config import unions
from mmcl_jax.reproduce import published
from mmcl_jax.reproduce.spec import Claim, Contrast, PaperTable, TableColumn, TableRow, difference

_PAPER = "Fedorov et al., figures of the released code"
_OASIS = ("t1", "falff")


def _row(key: str, label: str, config: str, inputs: tuple[str, ...], *, kind: str = "multimodal") -> TableRow:
    return TableRow(
        key=key,
        label=label,
        config=f"taxonomy/{config}",
        overrides=(f"name={key}",),
        protocols=("probe",),
        inputs=inputs,
        kind=kind,
    )


def _rows(inputs: tuple[str, ...], numbers: Mapping[str, published.Numbers]) -> dict[str, TableRow]:
    """Return all rows of a table by key, with the numbers of the paper."""
    rows = [_row(name.lower().replace("-", "_"), name, name, inputs) for name in unions()]
    rows += [
        _row("rr_ae", "RR-AE", "rr_ae", inputs),
        _row("cr_cca", "CR-CCA", "cr_cca", inputs),
        _row("dccae", "DCCAE", "dccae", inputs),
        _row("l_cca", "L-CCA", "l_cca", inputs),
        _row("mmvae", "MMVAE", "mmvae", inputs),
        _row("ae", "AE", "ae", inputs, kind="image"),
        _row("classes", "Supervised", "supervised", inputs, kind="labels"),
        TableRow(
            key="random",
            label="Encoder that was never trained",
            baseline="random",
            protocols=("probe",),
            inputs=inputs,
            kind="nothing",
        ),
    ]
    return {row.key: dataclasses.replace(row, published=numbers.get(row.key, {})) for row in rows}


def _columns(headings: Mapping[str, str]) -> tuple[TableColumn, ...]:
    return tuple(
        TableColumn(key=name, heading=heading, protocol="probe", input=name) for name, heading in headings.items()
    )


def _above(
    rows: Mapping[str, TableRow], first: str, others: tuple[str, ...], *columns: TableColumn, margin: float = 0.0
) -> tuple[Contrast, ...]:
    """Return the differences of the row `first` and each of the others in each column, with what the paper has."""
    contrasts = []
    for other, column in itertools.product(others, columns):
        one = difference(rows[first], rows[other], column)
        means = [_published(rows[key], column) for key in (first, other)]
        target = next(iter(rows[first].published), "")
        known = {} if None in means else {target: means[0] - means[1] + margin}  # type: ignore[operator]  # not None
        label = f"{one.label} {'+' if margin > 0 else '−'} {abs(margin):g}" if margin else one.label
        contrasts.append(dataclasses.replace(one, label=label, published=known, margin=margin))
    return tuple(contrasts)


def _published(row: TableRow, column: TableColumn) -> float | None:
    return next((numbers[column.key].mean for numbers in row.published.values() if column.key in numbers), None)


def _two_view() -> PaperTable:
    rows = _rows(("rotated", "noisy"), published.TWO_VIEW)
    columns = _columns({"rotated": "Rotated", "noisy": "Noisy"})
    noisy = columns[1:]
    others = ("cr", "cc", "rr", "cr_cc", "cc_rr", "rr_ae", "ae", "cr_cca", "dccae")
    return _table(
        "two_view_mnist",
        "Two views of digits: linear probes",
        rows,
        columns,
        (
            Claim(
                "Agreement between modalities (XX, RR) is above agreement within each (CR)",
                (*_above(rows, "xx", ("cr",), *columns), *_above(rows, "rr", ("cr",), *columns)),
            ),
            Claim("On the noisy view, XX is above all methods without XX", _above(rows, "xx", others, *noisy)),
            Claim(
                "On the noisy view, CR is the last",
                tuple(one for key in others[1:] for one in _above(rows, key, ("cr",), *noisy)),
            ),
        ),
        target="TWO_VIEW",
    )


def _mnist_svhn() -> PaperTable:
    rows = _rows(("mnist", "svhn"), published.MNIST_SVHN)
    columns = _columns({"mnist": "MNIST", "svhn": "SVHN"})
    hard = columns[1:]
    near = ("xx_cc", "xx_cc_rr", "cc_rr", "xx_rr", "xx", "rr", "cr_xx_cc_rr")
    return _table(
        "mnist_svhn",
        "MNIST and SVHN, paired by class: linear probes",
        rows,
        columns,
        (
            Claim(
                "On the harder digits, AE, CR, DCCAE and CR-CCA fail: they are at least 20 points below XX",
                _above(rows, "xx", ("ae", "cr", "dccae", "cr_cca"), *hard, margin=-20),
            ),
            Claim(
                "On the harder digits, the contrast of modalities comes within 3 points of RR-AE",
                tuple(one for key in near for one in _above(rows, key, ("rr_ae",), *hard, margin=3)),
            ),
        ),
        target="SVHN",
    )


def _oasis() -> PaperTable:
    every = _rows(_OASIS, {})
    rows = {key: every[key] for key in ("cr", "xx", "rr", "xx_cc", "cr_xx_cc", "rr_ae", "ae", "classes", "random")}
    columns = _columns({"t1": "T1", "falff": "fALFF"})
    falff = columns[1:]
    return _table(
        "oasis",
        "Volumes of two modalities: linear probes of the diagnosis",
        rows,
        columns,
        (
            Claim(
                "CR-XX-CC is the best method without labels in both modalities",
                _above(rows, "cr_xx_cc", ("cr", "xx", "rr", "xx_cc", "rr_ae", "ae"), *columns),
            ),
            Claim("XX-CC is above supervised training on fALFF", _above(rows, "xx_cc", ("classes",), *falff)),
            Claim(
                "RR fails on fALFF, and RR-AE repairs it: it is at least 10 points above RR",
                _above(rows, "rr_ae", ("rr",), *falff, margin=-10),
            ),
        ),
        target="",
    )


def _table(
    name: str,
    title: str,
    rows: Mapping[str, TableRow],
    columns: tuple[TableColumn, ...],
    claims: tuple[Claim, ...],
    *,
    target: str,
) -> PaperTable:
    return PaperTable(
        name=f"taxonomy/{name}",
        title=title,
        source=_PAPER,
        rows=tuple(rows.values()),
        columns=columns,
        claims=claims,
        reference="xx",
        variants=(name, f"{name}_small"),
        target=target,
        theirs="Theirs: read off a figure, to about 0.2 points; the number of runs is not said.",
        notes="Frozen: a linear head on the encoder's output, whose rate is chosen on validation.",
        beside=("metrics",),
    )


TABLES = (_two_view(), _mnist_svhn(), _oasis())
