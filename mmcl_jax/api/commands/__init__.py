"""The commands of `mmcl` as functions, with the same names and defaults."""
