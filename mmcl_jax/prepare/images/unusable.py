"""The error of an image that cannot be used."""

from mmcl_jax.errors import UserError


class Unusable(UserError):
    """The error of an image that cannot be used; images are counted by its `cause`, such as "broken image"."""

    def __init__(self, cause: str, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


def require(condition: bool, cause: str, sentence: str) -> None:
    """Raise `Unusable` with the cause and the sentence unless the condition holds."""
    if not condition:
        raise Unusable(cause, sentence)
