"""The values and parts of the experiments of one system each, beside those of MMCL (`config.presets`)."""
