"""What the operating system refuses, as one sentence."""

import errno

_FULL = "free some space; what was saved remains, and the same command continues"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EACCES: "give yourself the right to it, or choose another place",
    errno.EPERM: "give yourself the right to it, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of this path is a file; choose another place",
    errno.EISDIR: "this is a folder where a file is needed; choose another place",
    errno.EEXIST: "a file is where a folder is needed; choose another place",
    errno.EIO: "look after the disk; what was saved remains, and the same command continues",
    errno.EMFILE: "raise the limit of open files (ulimit -n); the same command continues",
}


def sentence_of(error: OSError) -> str:
    """Return the file, the reason and the remedy.

    Example:
      >>> sentence_of(OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.jsonl"))[:46]
      'runs/a/metrics.jsonl: no space left on device;'
    """
    reason = error.strerror or str(error) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    where = f"{' -> '.join(names)}: " if names else ""
    remedy = _REMEDIES.get(error.errno or 0, "mend that; the same command continues")
    return f"{where}{reason[:1].lower()}{reason[1:]}; {remedy}."
