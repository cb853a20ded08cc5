"""UK Biobank: cardiac images with the table of Hager et al. (CVPR 2023)."""
