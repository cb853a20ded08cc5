"""The work of a table: jobs that several processes claim one by one, and the choice of each method's settings."""
