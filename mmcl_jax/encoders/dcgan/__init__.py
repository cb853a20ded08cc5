"""The encoder of Fedorov et al. and the projection heads behind it."""
