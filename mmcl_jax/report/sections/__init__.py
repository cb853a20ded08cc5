"""The sections of the page of a report, a file each."""
