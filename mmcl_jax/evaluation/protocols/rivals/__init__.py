"""The tabular models that pretrained table encoders are compared with: a file per library, on the columns alone."""

import importlib

from mmcl_jax.errors import UserError

# The protocols, with the package that each needs beside the required ones.
PACKAGES = {
    "forest": "",
    "boosting": "",
    "mlp": "",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "realmlp": "pytabkit",
    "tabm": "pytabkit",
}
RIVALS = tuple(PACKAGES)


def check_installed(protocol: str) -> None:
    """Raise `UserError` unless the package of a rival is installed."""
    package = PACKAGES[protocol]
    try:
        if package:
            importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f'--protocol {protocol}: the package {package} is not installed; run `pip install "mmcl_jax[rivals]"`, or '
            "use --protocol boosting."
        ) from error
