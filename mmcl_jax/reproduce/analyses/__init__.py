"""Columns of tables that no label is predicted in: analyses of a pretrained run, which a truth judges."""
