"""What trained encoders are worth: frozen features, label budgets, linear probes, and the tables of them."""
