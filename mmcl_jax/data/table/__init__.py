"""Tables: the reading of their cells, and the encoding of their rows."""
