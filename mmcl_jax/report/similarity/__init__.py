"""What `mmcl similarity` writes: the matrices as JSON, as a table, and as a page with images and dendrograms."""
