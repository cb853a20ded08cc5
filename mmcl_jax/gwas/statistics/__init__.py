"""The statistics of a study: regressions, p-values, linkage, clumps and genetic components."""
