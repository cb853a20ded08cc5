"""The explanation of the loss of rows: the terms, the function of a row, its attributions, people and maps."""
