"""The report of a run, or of a comparison of runs: one HTML page that needs no network."""
