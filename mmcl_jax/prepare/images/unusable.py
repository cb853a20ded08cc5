"""The error of an image that cannot be used."""

from mmcl_jax.errors import UserError


class Unusable(UserError):
    """An image that cannot be used; `cause` is the short word that such images are counted by."""

    def __init__(self, cause: str, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


def require(condition: bool, cause: str, sentence: str) -> None:
    """Raise `Unusable` unless the condition holds."""
    if not condition:
        raise Unusable(cause, sentence)
