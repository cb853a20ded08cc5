"""Reading tables: their files, cells, kinds of columns, and rows."""
