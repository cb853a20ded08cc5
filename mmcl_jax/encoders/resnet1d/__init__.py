"""The table encoder of MT-CMTM: a residual network of 1-D convolutions over the columns of a row."""
