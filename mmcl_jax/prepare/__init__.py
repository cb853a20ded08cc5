"""Preparing a store from raw files: reading tables and images, dividing the rows, and writing the data card."""
