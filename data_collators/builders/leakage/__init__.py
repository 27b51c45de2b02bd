"""`coderep eval leakage`: which evaluation texts stand in training data.

A text of an evaluation set counts once, by the strongest kind found in any training text:
- exact: equal but for white space, which is removed; case counts.
- near: the sets of word 5-grams have a Jaccard similarity of at least the threshold. Pairs are found by MinHash
  signatures and bands (`dedup`), then compared word by word: none is reported wrongly, and of those at 0.85 one in 160
  is missed.
- contained: all its words, in lower case, stand in a row in the training text.
- overlap: both share a run of `ngram` words (13) that tells something (`decontamination`).

A short evaluation function inside a long training file is no near duplicate of it: their 5-grams differ by all the rest
of the file. That is what runs of words are for. A shared run alone may be boilerplate, such as a licence or the usual
way to read a file: its words and the similarity, the share of the evaluation text's runs that the training text has,
tell which.

For retrieval sets `positives` counts queries by the strongest kind among their relevant documents.

Evaluation texts are indexed and training texts stream past, so memory grows with the evaluation sets alone.
"""

from __future__ import annotations

from .cli import main as main
from .find import find_leakage as find_leakage
from .report import Hit as Hit
from .report import LeakageReport as LeakageReport
from .report import PartCounts as PartCounts
