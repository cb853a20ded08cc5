"""What a term compares: features of views, named by texts such as `image`, `image.local` or `image:pgs`."""

import dataclasses

from mmcl_jax.encoders import parse_key
from mmcl_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Read:
    """One feature of one view: `VIEW[.local][:HEAD]`.

    Attributes:
      view: name of the view.
      local: whether the local features `[B, L, C]` are read, and not the pooled ones `[B, D]`.
      head: name of the projector; "" for the modality's first, "none" for the features before any projector.
    """

    view: str
    local: bool = False
    head: str = ""

    @classmethod
    def parse(cls, text: str) -> "Read":
        """Return the feature that the text names.

        Raises:
          ValueError: the text is not of that form.

        Example:
          >>> Read.parse("image.local:pgs")
          Read(view='image', local=True, head='pgs')
        """
        try:
            return cls(*parse_key(text))  # the same form, with a view in place of a modality
        except UserError as error:
            raise ValueError(f"{text!r} is not VIEW, VIEW.local, VIEW:HEAD or VIEW.local:HEAD") from error

    @property
    def projected(self) -> bool:
        """Whether the features go through a projector."""
        return self.head != "none"

    def key(self, modality: str) -> str:
        """Return the key of the projector and of the predictor in the config: `MODALITY[.local][:HEAD]`."""
        return f"{modality}{'.local' if self.local else ''}{f':{self.head}' if self.head else ''}"
