"""Embeddings of any number of rows, as a Parquet file: `mmcl embed`."""
