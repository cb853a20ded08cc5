"""The versions of the software that a result depends on."""

import functools
import importlib.metadata
import platform

_PACKAGES = ("mmcl_jax", "jax", "jaxlib", "flax", "numpy", "polars", "scikit-learn")


@functools.cache
def versions() -> dict[str, str]:
    """Return the version of Python and of the packages whose numbers a result holds, by name.

    Example:
      >>> list(versions())
      ['python', 'mmcl_jax', 'jax', 'jaxlib', 'flax', 'numpy', 'polars', 'scikit-learn']
    """
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _PACKAGES}}
