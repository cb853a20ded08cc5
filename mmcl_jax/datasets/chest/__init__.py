"""Radiographs of the chest: MIMIC-CXR with reports, and the downstream data sets of LoVT."""
