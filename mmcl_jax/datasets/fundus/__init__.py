"""Photographs of the back of the eye: UK Biobank's with genetics, as ContIG prepares them; APTOS, RFMiD and PALM."""
