"""The tabular models that pretrained table encoders are compared with: a file per library, on the columns alone."""

from mmcl_jax.evaluation.protocols.rivals.base import Rival
from mmcl_jax.evaluation.protocols.rivals.boosting import Boosting
from mmcl_jax.evaluation.protocols.rivals.catboost import CatBoost
from mmcl_jax.evaluation.protocols.rivals.forest import Forest
from mmcl_jax.evaluation.protocols.rivals.lightgbm import LightGbm
from mmcl_jax.evaluation.protocols.rivals.mlp import Mlp
from mmcl_jax.evaluation.protocols.rivals.pytabkit import RealMlp, TabM

RIVALS: dict[str, Rival] = {
    "forest": Forest(),
    "boosting": Boosting(),
    "mlp": Mlp(),
    "lightgbm": LightGbm(),
    "catboost": CatBoost(),
    "realmlp": RealMlp(),
    "tabm": TabM(),
}
