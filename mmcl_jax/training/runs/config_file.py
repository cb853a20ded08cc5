"""The file `config.json` of a run: its structure, and the types of its keys."""

from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from ml_collections import ConfigDict

from mmcl_jax.border import Open, as_type, read_written, to_json
from mmcl_jax.errors import UserError
from mmcl_jax.files import reading
from mmcl_jax.training.runs.plain import from_plain, to_plain
from mmcl_jax.training.runs.renamed import translated
from mmcl_jax.training.validate import check_keys

CONFIG = "config.json"
REMEDY = "put a copy of it back, or train anew in another --workdir"


class _Named(TypedDict):
    name: str


class _View(TypedDict):
    name: str
    modality: str


_Part = Annotated[_Named, Open]
_Parts = dict[str, _Part]


class _Config(TypedDict):
    name: str
    encoders: _Parts
    projectors: _Parts
    predictors: _Parts
    views: dict[str, Annotated[_View, Open]]
    objective: list[_Part]
    optimizer: _Part
    schedule: _Part
    inputs: NotRequired[dict[str, dict[str, Any]]]
    sampler: NotRequired[_Part]
    own: NotRequired[dict[str, Any] | None]


def read_plain(directory: Path) -> dict[str, Any]:
    """Return the config of a run as its file has it, which an earlier version may have written.

    Raises:
      UserError: the file is missing or damaged.
    """
    plain: dict[str, Any] = read_written(directory / CONFIG, dict[str, Any], REMEDY)
    with reading(directory / CONFIG, REMEDY):
        as_type(Annotated[_Config, Open], plain)
    return plain


def read_config(directory: Path) -> ConfigDict:
    """Return the config of a run, with current names of keys.

    Raises:
      UserError: the file is missing, or a key is missing or has a wrong value.
    """
    plain = read_plain(directory)
    with reading(directory / CONFIG, REMEDY):
        config = from_plain(translated(plain))
        try:
            check_keys(config)
        except UserError as error:
            raise ValueError(str(error).removesuffix(".")) from error
    return config


def dumped(config: ConfigDict) -> str:
    """Return the text of the file."""
    return to_json(to_plain(config), indent=2) + "\n"
