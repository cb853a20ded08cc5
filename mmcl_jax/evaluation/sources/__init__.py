"""The sources of features (runs and baselines), and the labelled rows of a store that they are evaluated on."""
