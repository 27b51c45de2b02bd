"""Summaries rewritten the way people type searches: `Returns the list of users.` -> `get list of users in python`.

Doc comments and searches are two registers of one language. A model that has read doc comments alone forgets the other
(CoSQA, arXiv 2105.13239, has questions such as `python check if file exists`), so some of its texts are rewritten here:
by rules, in English, without a model. What is drawn comes from a generator that is passed in.
"""

from __future__ import annotations

import random
import re

from .query_words import (
    ADVERBS,
    ALWAYS_CHANGED,
    ARTICLES,
    DANGLING,
    NAMES,
    OTHER_VERBS,
    POINTERS,
    SPEAKERS,
    STATEMENTS,
    VERBS,
)

_MOST_WORDS, _FEWEST_WORDS = 12, 2
# Shares, chosen by reading rewritten rows: how often articles go, names are split, a verb is changed.
_NO_ARTICLES, _NO_POINTERS, _SPLIT_NAME, _OTHER_VERB = 0.75, 0.65, 0.7, 0.35

# Where the name stands. `how to` needs a verb behind it.
_FRAMES = {
    "{text}": 0.28,
    "{name} {text}": 0.27,
    "{text} in {name}": 0.12,
    "{text} {name}": 0.08,
    "how to {text}": 0.1,
    "how to {text} in {name}": 0.1,
    "{name} how to {text}": 0.05,
}

_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}|<[^<>]*>")
_POSSESSIVE = re.compile(r"(?<=\w)['’]s\b")
_NOT_WORDS = re.compile(r"[^\w\s.+#/&'-]+|(?<!\w)[.+&'#/-]+|[.&'/-]+(?!\w)")
_HUMP = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+|(?<=\w)(?:\.|->|::)(?=[A-Za-z_])")
_COMPOUND = re.compile(r"\w*[a-z\d][A-Z]\w*|\w+_\w+|[A-Za-z_]\w+(?:\.[A-Za-z_]\w*)+")
_CLAUSE_END = re.compile(
    r"(?:,|;)?\s+(?:otherwise|(?:or|else) (?:null|nil|none|undefined|false|else|-1)|and (?:false|null|none|nil)"
    r" otherwise|false otherwise|if (?:applicable|any|needed|necessary|possible|present|available|it exists|one exists)"
    r"|as (?:needed|necessary|required|specified|described|defined)|when (?:needed|necessary|possible))\b.*"
    r"|\.\s.*|;.*|:\s.*|\s[-–—]+\s.*",
    re.IGNORECASE | re.DOTALL,
)
_LATER_CLAUSE = re.compile(
    r"(?:,|\s(?:which|that|so that|such that|using|because|since|where|when|while|unless|before|after|based on|in order"
    r" to|depending on|according to|by using|if|as)\s).*",
    re.IGNORECASE | re.DOTALL,
)
_HELPER = (
    r"(?:(?:an?|the|this) )?(?:\w+ )?(?:(?:utility|convenience|internal|private|generic|static|factory) )?"
    r"(?:helper|method|function|routine|utility|procedure|subroutine|implementation|hook|decorator|handler|callback)s?"
)
_NEW = r"(?:initiali[sz]es?|creates?|constructs?|builds?|returns?|makes?) (?:and returns? )?"
_ASKS = r"(?:determines?|checks?|tests?|tells?|says?|verif(?:y|ies)|asks?|finds? out|sees?|(?:looks?|checks?) to see)"
# What stands in front of what a function does, and what becomes of it. One after the other is tried.
_OPENINGS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (rf"{_HELPER} (?:(?:which|that|to|will|can be used to|is used to|used to|used for|for) )+", ""),
        (
            r"(?:this|it)(?: (?:method|function|routine|implementation|class|helper|procedure|code|property))?"
            r"(?: \w+ly)? (?=\w+s )",
            "",
        ),
        (r"(?:will|can be used to|is used to|used to|used for|responsible for|designed to|a way to) ", ""),
        (r"(?:attempts?|tr(?:y|ies)|allows?(?: (?:you|users?|one|us))?|makes? it possible) to ", ""),
        (r"(?:is )?(?:called|invoked|triggered|fired|executed|run) (?:when|whenever|by|after|before|on|if) .*", ""),
        (
            r"(?:returns? )?(?:an? )?(?:flag|boolean|bool|value|true/false)? ?indicat(?:ing|es?) (?:whether|if)"
            r"(?: or not)? ",
            "check if ",
        ),
        (rf"{_ASKS} (?:if|whether)(?: or not)? ", "check if "),
        (
            r"(?:is )?(?:returns? )?(?:a )?(?:true|1|non-?zero|boolean|bool|false)"
            r" (?:if|iff|when|whenever|if and only if) ",
            "check if ",
        ),
        (r"(?:return(?:s|ing)? )?whether(?: or not)? ", "check if "),
        (r"returns? if ", "check if "),
        (r"(?:determines?|checks?|tests?|verif(?:y|ies)|asserts?|ensures?|makes? sure) that ", "check if "),
        (rf"{_NEW}(?:an? |the )?(?:new |empty )?instances? of (?:(?:the|an?) )?", "create "),
        (
            r"(?:(?:default|linear|copy|simple|private|public) )?constructors?(?: (?:for|of|that|which))?"
            r"(?: (?:creat|initiali[sz])(?:es|ing))? ",
            "create ",
        ),
        (r"gets? (?:or|and|/) ?sets? ", "get and set "),
        (r"getter (?:for|of) ", "get "),
        (r"setter (?:for|of) ", "set "),
        (r"(?:sugar|shorthand|shortcut|alias|wrapper) (?:for|to|around|of) ", ""),
        (r"given [^,]{1,60}, ", ""),
    )
)


def query_of(text: str, language: str, name: str, rng: random.Random) -> str:
    """A summary as somebody might have typed it into a search box; "" if the rules find nothing to ask for.

    Args:
        text: A summary in English.
        language: The language of its function, by which the query may ask.
        name: Name of the function, which some doc comments begin with.
        rng: What is drawn: articles, verbs, where the language stands.
    """
    words = _words(_core(text, name), rng)
    if (
        sum(len(word) > 2 for word in words) < _FEWEST_WORDS
        or words[0] in STATEMENTS
        or not SPEAKERS.isdisjoint(words[:3])
    ):
        return ""
    names, asks = NAMES.get(language, {}), words[0] in VERBS
    frames = {
        frame: weight
        for frame, weight in _FRAMES.items()
        if (names or "{name}" not in frame) and (asks or "how to" not in frame)
    }
    return _draw(frames, rng).format(text=" ".join(words), name=_draw(names, rng) if names else "")


def _draw(weights: dict[str, float], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _core(text: str, name: str) -> str:
    """What a summary says the function does: one clause, without brackets and without what leads up to it."""
    text = " ".join(text.split())
    first, _, rest = text.partition(" ")
    if name and first.strip("`()'\":*").rpartition(".")[2] == name and rest:
        text = rest
    while (plain := _BRACKETS.sub("", text)) != text:
        text = plain
    text = _CLAUSE_END.sub("", text.strip().rstrip(".!?:;, "))
    for pattern, replacement in _OPENINGS:
        found = pattern.match(text)
        if found is not None:
            text = replacement + text[found.end() :]
    if len(text.split()) > _MOST_WORDS:
        shorter = _LATER_CLAUSE.sub("", text)
        text = shorter if len(shorter.split()) >= 3 else text
    return text


def _words(core: str, rng: random.Random) -> list[str]:
    """The words of a query: lower case, the verb as an order, articles and pointers dropped by chance."""
    split, articles, pointers = rng.random() < _SPLIT_NAME, rng.random() >= _NO_ARTICLES, rng.random() >= _NO_POINTERS
    core = _NOT_WORDS.sub(" ", _POSSESSIVE.sub("", core))
    words = [part for word in core.split() for part in (_parts(word) if split else [word.strip("_")])]
    words = [word.lower() for word in words if word]
    words = _imperative(words, rng)
    kept = [
        word
        for word in words
        if (articles or word not in ARTICLES) and (pointers or word not in POINTERS) and word not in ADVERBS
    ]
    kept = kept[:_MOST_WORDS]
    while kept and kept[-1] in DANGLING:
        kept.pop()
    return kept


def _parts(word: str) -> list[str]:
    """`getUserName` -> `get User Name`; numbers, versions and plain words stay."""
    return _HUMP.split(word) if _COMPOUND.fullmatch(word) else [word]


def _imperative(words: list[str], rng: random.Random) -> list[str]:
    """`returns x and closes y` -> `get x and close y`: the first verb, and one behind an early `and`, as orders."""
    while words and words[0] in ADVERBS:
        words = words[1:]
    if not words:
        return words
    verb = base_form(words[0])
    if verb is None:
        return words
    other = rng.random() < _OTHER_VERB or verb in ALWAYS_CHANGED
    changed = rng.choice(OTHER_VERBS.get(verb, (verb,))) if other else verb
    rest = [
        (base_form(word) or word) if before in ("and", "or", "then", "so") and word.endswith("s") else word
        for before, word in zip(words, words[1:], strict=False)
    ]
    return [*changed.split(), *rest]


def base_form(word: str) -> str | None:
    """The verb of which a word is a form: `fixes`, `fixing` -> `fix`; None if it is no verb we know."""
    forms = {"": "", "s": "", "es": "", "ies": "y", "ing": ""}
    stems = [word.removesuffix(ending) + back for ending, back in forms.items() if word.endswith(ending)]
    if word.endswith("ing"):
        stems += [word[:-3] + "e", word[:-4]]  # `creating`, `getting`
    return next((stem for stem in stems if stem in VERBS), None)
