"""Drawn heads: a T1-weighted volume and a map of fALFF per scan, with an atrophy that T1 shows better."""
