"""The tables of a paper, one command each: train what is missing, evaluate what is missing, write ours beside theirs.

A table is data (`tables`): rows, columns and the paper's claims. `plan` says what it takes and what is there already,
`work` does the rest, `grid` holds the numbers, and `reading`, `text`, `page` and `results` write them down.
"""
