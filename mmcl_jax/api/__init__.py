"""The commands of `mmcl` as functions, one file each, and the estimator; `import mmcl_jax as mj` offers them."""
