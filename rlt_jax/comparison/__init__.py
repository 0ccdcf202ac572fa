"""Baselines and ablations of RLT under the same budget and on the same starts.

`rows` declares what each row is, `gates` when it may be believed, `runs` runs
it, and `results` writes the table.
"""
