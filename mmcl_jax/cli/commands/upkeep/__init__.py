"""The commands that look after stores and runs on disk."""
