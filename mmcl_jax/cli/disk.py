"""Messages for errors of the operating system, such as a full disk or a limit of memory."""

import errno

from mmcl_jax.text import visible

_FULL = "free some space; what was saved remains, and the same command continues"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EACCES: "change its permissions, or choose another path",
    errno.EPERM: "change its permissions, or choose another path",
    errno.EROFS: "choose a path that can be written",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of this path is a file; choose another path",
    errno.EISDIR: "a folder has the name of a file that the command writes; choose another path",
    errno.EEXIST: "a file has the name of a folder that the command makes; choose another path",
    errno.EIO: "check the disk; what was saved remains, and the same command continues",
    errno.EMFILE: "raise the limit of open files (ulimit -n); the same command continues",
    errno.ENFILE: "close other programs, or raise the system's limit of open files; the same command continues",
    errno.ENOMEM: "free memory, or raise its limit (ulimit -v, or the container's); the same command continues",
    errno.EAGAIN: "raise the limits of processes and memory (ulimit -u, ulimit -v); the same command continues",
}


def sentence_of(error: OSError) -> str:
    """Return a sentence with the file, the reason and the remedy.

    Example:
      >>> sentence_of(OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.jsonl"))[:46]
      'runs/a/metrics.jsonl: no space left on device;'
    """
    reason = error.strerror or str(error) or type(error).__name__
    names = [visible(name) for name in (error.filename, error.filename2) if name is not None]
    where = f"{' -> '.join(names)}: " if names else ""
    remedy = _REMEDIES.get(error.errno or 0, "when that is fixed, the same command continues")
    return f"{where}{visible(reason[:1].lower() + reason[1:])}; {remedy}."
