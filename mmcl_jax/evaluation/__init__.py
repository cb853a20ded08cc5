"""The evaluation of pretrained encoders on downstream tasks: protocols, label budgets, baselines, and their results."""
