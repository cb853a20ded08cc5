"""The error of a picture that cannot be used."""

from mmcl_jax.errors import UserError


class Unusable(UserError):
    """A picture that cannot be used; `cause` is the short word that such pictures are counted by."""

    def __init__(self, cause: str, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


def require(condition: bool, cause: str, sentence: str) -> None:
    """Raise `Unusable` unless the condition holds."""
    if not condition:
        raise Unusable(cause, sentence)
