"""What `import mmcl_jax as mj` offers: the commands of `mmcl` as functions, and an estimator."""
