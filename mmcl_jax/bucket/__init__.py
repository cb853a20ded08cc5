"""Folders and files in buckets: what a command reads is fetched, and what it writes is published."""
