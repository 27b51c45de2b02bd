"""Steps between the builders and training that need a model: what they share.

A step reads a data set of pairs piece by piece, gives each row new columns (the rank of its code, mined negatives) from
a comparison with a pool of codes, and writes a data set of pairs again. `source` and `rows` read, `pool` holds the
codes, `search` compares, `work` carries a step out, `merge` writes.
"""
