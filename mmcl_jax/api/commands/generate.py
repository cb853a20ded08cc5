"""`mj.generate`: drawn data in the on-disk format of a data set that cannot be shipped."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcl_jax import datasets as recipes
from mmcl_jax.api.given import AnyPath, overriding, path_of
from mmcl_jax.border import to_json
from mmcl_jax.bucket.border import addressed
from mmcl_jax.errors import check
from mmcl_jax.files import atomic
from mmcl_jax.prepare.recipe import DRAWN
from mmcl_jax.synthetic import GENERATORS, READERS
from mmcl_jax.targets import check_folder
from mmcl_jax.text import visible


@addressed(writes=("out",))
def generate(name: str, *, out: AnyPath, options: Mapping[str, Any] | Sequence[str] = ()) -> Path:
    """Draw data with a known truth, in the format of the data set `name`.

    The same from the command line: `mmcl generate NAME --out OUT --dataset.KEY=VALUE`.

    Args:
      name: "dvm", "cardiac", "fundus" or "oasis", whose format it is; "chest" for radiographs in the format of
        MIMIC-CXR; or "membranes".
      out: the folder to make.
      options: of the generator, by name; `mmcl generate --help` lists them.

    Returns:
      The folder. `mj.prepare(dataset=name, root=folder, out=...)` makes a store of it; of a "chest",
      `mj.prepare(dataset="mimic_cxr", root=folder / "mimic", out=...)`.

    Raises:
      UserError: the folder exists, or an option is unknown.
    """
    folder, texts = path_of(out, "--out"), overriding(options)
    check(not folder.exists(), f"{folder} exists already; choose another --out, or remove it first.")
    check_folder(folder, "--out")
    with atomic(folder) as partial:
        suggested = recipes.call(GENERATORS, name, texts, root=partial) or ()
        (partial / DRAWN).write_text(to_json({"generator": name, "options": texts}) + "\n")
    recipe, below = READERS.get(name, (name, "."))
    known = recipes.RECIPES.options(recipe)
    shared = "".join(f" --dataset.{word}" for word in texts if word.partition("=")[0] in known)
    shared += "".join(f" {visible(word)}" for word in suggested)
    root = visible(shlex.quote(str(folder / below)))
    print(
        f"Written to {visible(folder)}. Next: mmcl prepare --dataset {recipe} --root {root}{shared} --out stores/{name}"
    )
    return folder
