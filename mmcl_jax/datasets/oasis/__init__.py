"""OASIS-3, T1-weighted MRI with fALFF of functional MRI, and data in the same layout or in BIDS."""
