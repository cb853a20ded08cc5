"""Optimizers and schedules; importing an optimizer registers it."""

from mmcl_jax.training.optim.amsgrad import amsgrad as amsgrad
from mmcl_jax.training.optim.optimizer import OPTIMIZERS as OPTIMIZERS
from mmcl_jax.training.optim.schedules import SCHEDULES as SCHEDULES
from mmcl_jax.training.optim.trust import lamb as lamb
from mmcl_jax.training.optim.trust import lars as lars
