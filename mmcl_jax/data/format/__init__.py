"""The files of a store, of every version."""
