"""What `mmcl align` writes: the scores as JSON and as a table, the weights of regions, and a page with maps."""
