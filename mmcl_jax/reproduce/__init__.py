"""The tables of a paper, one command each: train and evaluate what is missing, then write our numbers beside theirs.

A table is data (`spec`, `tables`, `published`). `plan` lists its pretrainings and evaluations, `configure` makes and
checks their configs, `run` does the missing work, `grid` and `outcome` compute the numbers, `reading` judges the
claims, and `text`, `page`, `charts` and `results` write the files.
"""
