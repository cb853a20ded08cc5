"""Tables: how cells are read, and how rows are encoded."""
