"""The command line: one small file per command, which only declares options and calls a function of `api`."""
