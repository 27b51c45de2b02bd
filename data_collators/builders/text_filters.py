"""Which summaries are no text for a pair, and why.

The paper's filters (arXiv 2402.01935, appendix A.2) are English, and 3 to 256 words. What real doc comments hold beside
descriptions (orders to linters, notes, pointers to other functions, licences) is dropped too.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

# No description: orders, notes, grammar rules, lists of results, calls.
_NOT_PROSE = re.compile(
    r"(?i)^\W*(?:(?:todo|fixme|xxx|hack|nolint|eslint|tslint|jshint|istanbul|prettier|rubocop|noinspection|pylint|noqa"
    r"|fix (?:this|me)|to be (?:supplied|added)|no description|undocumented|frozen_string_literal|life cycle"
    r"|methods? not supported|(?:this (?:code|implementation)|code) (?:is |was )?(?:directly )?"
    r"(?:based|adapted|borrowed|taken))\b"
    r"|go:|(?:start|end)\s*-|(?:not implemented|placeholder)\.?$"
    r"|(?:implementation )?(?:note|nb|important|warning|caution|appendix|invariant|precondition|debug)s?\s*"
    r"(?:[:!-]|that\b)"
    r"|returns?(?: values?)?:? *-?\d+ ?[:=]|return values?:)"
    r"|^[\w-]+ ::= |^\w+\((?:[^()]|\([^()]*\))*\)\s*;?$|^[A-Za-z_]\w*\s*:=\s"
    r"|^(?:@|#|\$|//|>>>|\.\.\s|%|-\*-)"
)
# What must hold or be done before a call says nothing of what is done.
_CONDITION = re.compile(
    r"(?i)^(?:pre-?conditions?:|post-?conditions?:|n\.?b\.?:|must (?:hold|be (?:called|used|held|invoked|kept))"
    r"|(?:the )?callers? (?:must|should|is|needs|has to|holds?)\b|(?:\w+\.)+\w+ must be"
    r"|(?:this )?(?:requires|assumes) (?:that )?\S+ (?:is|be|are)? ?.{0,20}(?:held|locked)"
    r"|(?:note:? )?(?:keep|must be kept) in sync|should (?:only |not )?be (?:called|used)|(?:do not|don't) (?:use|call)"
    r"|(?:this (?:function|method|routine|class)|\w+\(\)|\w+) (?:must|should)(?: \w+)? (?:only )?be (?:called|used)"
    r"|deprecated[:.,; ]|experimental:|(?:borrowed|adapted|copied|taken|stolen|derived) from\b|implemented using\b)"
    r"|.*\b(?:was|were) contributed by\b|.*\bhandler invoked on\b|because\b"
    r"|(?:this (?:method|function|routine) (?:is |gets )?)?(?:called|invoked) "
    r"(?:(?:by|from|when|whenever|after|before|at|if|once|on)\b|(?!.*\bto [a-z]+))"
    r"|(?:if we|most|some|without|usually|normally|typically|currently|historically|refer to|put any)\b"
    r"|this is an? (?:internal|private|helper|unusual|special) (?:method|function|case)\.$"
)
# A sentence that breaks off before a list or code.
_UNFINISHED = re.compile(
    r"(?i)\b(?:and|or|such as|based on|(?:the )?following|including|does the following|e\.g\.|i\.e\.)$"
)
_BOILERPLATE = re.compile(
    r"(?i)^(?:(?:default|simple|basic|private|protected|public|no-args?|hidden|trivial|full|copy|empty|main|the|a|an|this)"
    r"\W+)*(?:constructor|initiali[sz]er|destructor)\.?$"
    r"|^(?:\w+ )?(?:creates?|constructs?|builds?|makes?|initiali[sz]es?|allocates?)(?: and initiali[sz]es?)?"
    r" (?:a |an |the |this )?(?:new |fresh )?(?:instance|object|class|this)"
    r"(?: of (?:this|the) (?:class|object|type))?\.?$"
    r"|^(?:processes (?:this (?:test|sniff)|the (?:function )?tokens)\b|(?:returns an array of|registers the) tokens\b"
    r"|(?:register|boot) the service|execute the console command|invoke the controller)"
)
_POINTER = re.compile(
    r"(?i)^(?:\(?see\b|same as\b|alias (?:for|of|to)\b|like\b|refer to\b|cf\b|equivalent (?:to|of)\b|inherited from\b)"
)
# Sentences that need the one above.
_NEIGHBOUR = re.compile(
    r"(?i)^(?:(?:same )?as (?:above|before|previous)|ditto\b|likewise\b|(?:like|similar to) (?:the )?(?:above|previous)"
    r"|(?:the )?same,? (?:but|for|as (?:above|for)))"
)
# Sentences that only name another function, or the interface of which this is a method.
_STAND_IN = re.compile(
    r"(?i)^(?:overrides?|implements?)(?: of)? (?:the )?[\w.#]+(?: method)?\.?$"
    r"|^(?:(?:the|an?|default|async|internal|private|shorthand|helper|base) )*"
    r"(?:implementation|version|variant|method|function|helper|shorthand|wrapper|overload|override)"
    r"(?: (?:method|function))? (?:of|for) (?:the )?[A-Za-z_$][\w$]*"
    r"(?:[.#]\w+[\w.#$]*|\(\)|_)[\w$().#]*(?: method| function)?\.?$"
    r"|^(?:the )?(?:workhorse|callback|helper|subroutine|guts|common code|wrapper)(?: (?:function|routine|method)s?)?"
    r" (?:for|of) [\w.]+(?:\(\))?(?:(?:,| and|, and) [\w.]+(?:\(\))?)*\.?$"
    r"|^[\w().*]+\s+(?:also )?(?:implements?|satisfies|is (?:a|an|the) (?:\S+ )?implementation (?:of|for))\s+"
    r"(?:(?:the|an?)\s+)?(?!linux\b|semantics\b)(?!\S*\(\d\))\S+(?:'s \w+)?"
    r"(?:\s+(?:interface|method|function|func)s?(?:\s+(?:of|for|from|in|on)\s+(?:the\s+)?\S+(?:\s+interface)?)?"
    r"|\s+\S+\s+(?:interface|method|func|function))?\.?$"
)
_LICENSE = re.compile(
    r"(?<!\w)\(c\)\s*(?:\d{4}|[A-Z]\w)|(?i:\bcopyright (?:\(|\d)|\blicensed under|\ball rights reserved)"
)

# Words of everyday English that hardly any other language has.
_ENGLISH = frozenset(
    "the of to and are or for from with this that it if be by not when which returns return get set given whether new "
    "its into using used can will should does has have were is an as on at all each parse parses create creates check "
    "checks read reads write writes update updates remove removes compute computes convert converts handle "
    "handles".split()
)
_MADE = re.compile(
    r"(?i)(?:creates?|constructs?|instantiates?|builds?|makes?|initiali[sz]es?)(?: (?:a|an|the))?(?: new)?"
    r"(?: instance of)?(?: (?:a|an|the))? (\w+)(?: instance| object)?\.?$"
)
_RULE = re.compile(r"([\w-]+) ?= ")
_WORD = re.compile(r"[^\W\d_]+")
_OTHERS = ("de", "fr", "es", "pt", "it", "nl", "pl", "tr", "id", "vi", "sv", "ru", "zh", "ja", "ko")
# The detector is wrong about "Delete a file." and the like; in plain letters it is asked from so many words on.
_FEW_WORDS = 6


def drop_reason(text: str, min_words: int, max_words: int, name: str = "") -> str:
    """Why a summary is no text for the function of this name; "" if it is one."""
    words = len(text.split())
    if words < min_words:
        return "summary_too_short"
    if words > max_words:
        return "summary_too_long"
    if _UNFINISHED.search(text):
        return "unfinished"
    if _NOT_PROSE.match(text) or _CONDITION.match(text) or _is_grammar(text, name):
        return "not_prose"
    if _BOILERPLATE.match(text) or _names_the_class(text, name):
        return "boilerplate"
    if (words < 8 and _POINTER.match(text)) or _NEIGHBOUR.match(text) or _STAND_IN.match(text):
        return "points_elsewhere"
    if _LICENSE.search(text):
        return "licence"
    other = len(_WORD.sub("", text))
    if other == len(text):
        return "summary_without_letters"
    if other - text.count(" ") > 0.4 * len(text):
        return "not_prose"
    return "" if is_english(text) else "not_english"


def _names_the_class(text: str, name: str) -> bool:
    """Whether a text says of a constructor no more than its class: `Creates a new Pool instance.`"""
    made = _MADE.match(text)
    return made is not None and made.group(1) == name


def _is_grammar(text: str, name: str) -> bool:
    """Whether a text is the rule of a grammar that the function parses: `Sp = @Spacechar` for `_Sp`."""
    rule = _RULE.match(text)
    return rule is not None and rule.group(1).replace("-", "_").lower() == name.lstrip("_").lower()


def is_english(text: str) -> bool:
    """Whether a sentence is English, as far as one can tell from so little; py3langid decides where words do not."""
    words = _WORD.findall(text.lower())
    if text.isascii():
        if len(words) < _FEW_WORDS or not _ENGLISH.isdisjoint(words):
            return True
    else:
        if len(_ENGLISH.intersection(words)) > 1:
            return True
        letters = [char for char in text if char.isalpha()]
        if sum(char > "\u024f" for char in letters) > 0.3 * len(letters):
            return False
    shares = dict(_identifier().rank(text))
    english, other = float(shares.pop("en")), float(max(shares.values()))
    return not (other > 0.4 and other > 3 * english)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(["en", *_OTHERS])
    return identifier
