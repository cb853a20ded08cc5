"""The command line: one small file per command, with no logic of its own."""
