"""What an analysis wrote, as an object that prints itself and shows its page in a notebook."""

import abc
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from mmcl_jax.page.html import Html, element


@dataclasses.dataclass(frozen=True, repr=False)
class Analysed(abc.ABC):
    """The folder of an analysis; in a notebook, its page.

    Attributes:
      directory: of the analysis.
      about: what its JSON file says.
      page_name: the name of the page in the folder.
    """

    directory: Path
    about: Mapping[str, Any]
    page_name: ClassVar[str]

    @property
    def page(self) -> Path:
        """The page of the analysis."""
        return self.directory / self.page_name

    def to_dict(self) -> dict[str, Any]:
        """Return the folder, the page, and what the JSON file says."""
        return {"directory": self.directory, "page": self.page, **self.about}

    @abc.abstractmethod
    def describe(self) -> str:
        """Return the result in a few lines."""

    def __repr__(self) -> str:
        return self.describe()

    def _repr_html_(self) -> Html:
        page = self.page.read_text(encoding="utf-8")
        return element("iframe", srcdoc=page, sandbox="", width="100%", height=800, style="border:0")
