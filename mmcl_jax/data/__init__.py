"""From raw files to batches: table schema and encoding, image reading, `prepare`, the store, Grain input."""
