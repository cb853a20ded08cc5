"""The tables of the papers: rows, columns, claims and published numbers."""
