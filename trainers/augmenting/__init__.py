"""More kinds of pairs out of a data set of pairs: what `trainers.augment` consists of.

`options` says what is asked for, `selection` which pairs stay, `across` finds functions that are described alike,
`rows` makes the new rows, `write` puts the data set together.
"""
