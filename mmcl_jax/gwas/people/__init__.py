"""The people of a study and their phenotypes and covariates."""
