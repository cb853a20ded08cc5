"""A program of several processes: its start, the watch over lost processes, and what they do together."""

from mmcl_jax.training.processes.start import begin, leave, others
from mmcl_jax.training.processes.together import broadcast_from_primary, check_same, is_primary, shared

__all__ = ["begin", "broadcast_from_primary", "check_same", "is_primary", "leave", "others", "shared"]
