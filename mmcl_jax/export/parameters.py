"""The format "orbax": an Orbax checkpoint of parameters and statistics alone, for any program with Flax or JAX.

    from orbax.checkpoint import v1 as ocp

    weights = ocp.load("/release/orbax")  # {"params": {"encoders": ...}, "statistics": {"encoders": ...}}

Both are nested dicts of arrays in the structure of the Flax NNX modules; the keys of lists are texts of numbers.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from mmcl_jax.export.formats import Written
from mmcl_jax.export.release import Release

FOLDER = "orbax"

_USAGE = """With Orbax, for Flax or JAX:

```python
from pathlib import Path

from orbax.checkpoint import v1 as ocp

weights = ocp.load(Path("orbax").absolute())
weights["params"]["encoders"]  # nested dicts in the structure of the Flax NNX modules
weights["statistics"]["encoders"]  # of batch normalisation
```"""


def check_release(release: Release) -> None:
    """Accept every release: parameters need no form in another program."""


def write(release: Release, folder: Path) -> list[Written]:
    """Write the parameters and statistics of the exported encoders and projectors, and of the head."""
    params, statistics = release.arrays()
    if release.head is not None:
        trained, standard = release.head.trained, release.head.standard
        params["head"] = dict(trained.params)
        statistics["head"] = {"shift": np.float32(trained.units.shift), "scale": np.float32(trained.units.scale)}
        if standard is not None:
            statistics["head"] |= {"mean": standard.mean, "std": standard.scale}
    ocp.save((folder / FOLDER).absolute(), {"params": _named(params), "statistics": _named(statistics)})
    about = "An Orbax checkpoint of the parameters and of the statistics of batch normalisation, nothing else."
    return [Written(file=FOLDER, about=about, usage=_USAGE)]


def _named(tree: Any) -> Any:
    """Return nested dicts with texts as keys and NumPy arrays as leaves, which Orbax reads back on any machine."""
    if isinstance(tree, dict):
        return {str(key): _named(value) for key, value in tree.items()}
    return np.asarray(jax.device_get(tree))
