"""Gene burdens: a matrix of people by genes, without the genes that too few people carry a variant in."""

import dataclasses
from collections.abc import Callable

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.entries.matrix import Matrix
from mmcl_jax.prepare.sources import Source


def with_carriers(
    matrix: Matrix, source: Source, where: str, *, excluded: Callable[[str], bool] = lambda person: False
) -> Matrix:
    """Return the matrix of the genes with enough carriers: people with a burden other than 0.

    They are counted among all people of the file whom the request does not exclude.

    Args:
      matrix: people by genes.
      source: of the kind burdens; `min_carriers` is a number, or below 1 a share of the people.
      where: how errors name the source.
      excluded: whether a person is left out of the request.

    Raises:
      UserError: no gene is left.
    """
    if not source.min_carriers:
        return matrix
    rows = np.array([row for key, row in matrix.index.items() if not excluded(key)], np.int64)
    carriers = np.zeros(len(matrix.names), np.int64)
    for _, values in matrix.chunks(rows):
        carriers += ((values != 0) & ~np.isnan(values)).sum(axis=0)
    least = source.min_carriers if source.min_carriers >= 1 else source.min_carriers * len(rows)
    kept = np.flatnonzero(carriers >= least)
    check(
        len(kept) > 0,
        f"{where}: min_carriers: none of {counted(len(matrix.names), 'gene')} has {least:g} carriers among "
        f"{counted(len(rows), 'person', 'people')}; lower it.",
    )
    left_out = len(matrix.names) - len(kept)
    told = f"{where}: {counted(left_out, 'gene')} with fewer than {least:g} carriers are left out."
    return dataclasses.replace(
        matrix,
        names=tuple(matrix.names[column] for column in kept),
        values=lambda rows: matrix.values(rows)[:, kept],
        warnings=(*matrix.warnings, *((told,) if left_out else ())),
    )
