"""The commands of `mmcl`: each file declares the options of a command and calls its function in `api`."""
