"""The first sentence of a doc comment as the text of a pair, in any of the languages' own forms.

The filters are the paper's (arXiv 2402.01935, appendix A.2): no other language than English, 3 to 256 words, no URLs,
HTML or doc tags, no broken unicode. What real doc comments hold beside prose (orders to linters, pointers to other
functions, licences) is dropped too.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_URL = re.compile(r"(?:https?|ftp|file)://[^\s>)\]]+|\bwww\.\S+")
_XML_SUMMARY = re.compile(r"(?is)<summary>(.*?)(?:</summary>|\Z)")
_XML_REFERENCE = re.compile(
    r"""<(?:see|seealso|paramref|typeparamref|inheritdoc)\b[^>]*?"(?:[A-Z]:)?([^"]*)"[^>]*?/?>"""
)
_CODE_BLOCK = re.compile(r"(?s)<pre\b.*?(?:</pre>|\Z)|```.*?(?:```|\Z)|\{@code\s*\n.*?\n\s*\}")
_PARAGRAPH = re.compile(r"(?i)<(?:p|br|ul|ol|li|h\d|dl|table|blockquote|para|remarks)\s*/?>")
_HTML = re.compile(r"</?[A-Za-z][^<>\n]*>|<!--.*?-->", re.DOTALL)
_ENTITY = {"&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": '"', "&nbsp;": " ", "&#64;": "@", "&#39;": "'"}
_INLINE_TAG = re.compile(r"\{@(?:link|linkplain|code|literal|value|see|tutorial)\b\s*([^{}]*)\}")
_INHERITED = re.compile(
    r"(?i)\{@inherit-?doc\}|@inherit-?doc|<inheritdoc\s*/?>|:nodoc:|:call-seq:.*?(?=\n\s*\n|\Z)", re.DOTALL
)
_ROLE = re.compile(r":[A-Za-z:+-]+:`~?([^`<]*?)(?:\s*<[^`]*>)?`")
_RDOC_LINK = re.compile(r"(?:\{([^{}\n]+)\}|\b(\w+))\[(?:rdoc-ref:|link:|http)[^\]]*\]")
_MARKDOWN_LINK = re.compile(r"\[([^\]\n]+)\]\([^)\s]*\)")
_RDOC_CODE = re.compile(r"(?<![\w+])\+([\w:.#?!]+)\+(?![\w+])|<tt>(.*?)</tt>|``([^`\n]+)``|`([^`\n]+)`")
# Tags that prose may follow, and which say nothing themselves.
_OPENING_TAG = re.compile(
    r"^\s*[@\\](?:brief|short|summary|description|desc|details|internal|private|protected|public|package|api|ignore"
    r"|static|final|async|abstract|function|method|constructor|override|export|suppress|deprecated|note|fn)\b"
    r"(?:\s*\{[^}]*\})?[ \t]*:?",
)
# A line that begins a list of parameters, results, examples: the prose ends before it.
_BLOCK_TAG = re.compile(
    r"(?m)^\s*(?:[@\\][A-Za-z][\w-]*|:[\w ]+:(?=\s|$)"
    r"|(?:Args|Arguments|Parameters|Returns?|Yields|Raises|Throws|Examples?|Notes?|See [Aa]lso|Usage|Since|Params"
    r"|Attributes|Options|Inputs?|Outputs?)\s*:?\s*$).*"
)
_BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")
# A doc comment may begin with paragraphs of tags alone; so many are looked at.
_PARAGRAPHS = 4
_MARKUP = frozenset("`[+<")
_UNDERLINE = re.compile(r"(?m)^\s*[-=~^*]{3,}\s*$")
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\betc\.)(?<!\bvs\.)(?<!\bcf\.)\s+(?=[A-Z(\"'`\[{<])"
)
_NOT_PROSE = re.compile(
    r"(?i)^(?:todo|fixme|xxx|hack|nolint|eslint|tslint|jshint|istanbul|prettier|rubocop|noinspection|pylint|noqa|lint"
    r"|go:|@|#|\$|//|>>>|\.\.\s|%|-\*-|to be (?:supplied|added)|not implemented|no description|undocumented"
    r"|placeholder)"
)
_POINTER = re.compile(
    r"(?i)^(?:\(?see\b|same as\b|alias (?:for|of|to)\b|like\b|refer to\b|cf\b|equivalent (?:to|of)\b|overrides?\b"
    r"|implements?\b|inherited from\b)"
)
_LICENSE = re.compile(r"(?i)\b(?:copyright|\(c\)\s|licensed under|all rights reserved|public domain|permission to use)")

# Words of everyday English that hardly any other language has.
_ENGLISH = frozenset(
    "the of to and are or for from with this that it if be by not when which returns return get set given whether new "
    "its into using used can will should does has have were is an as on at all each".split()
)
_WORD = re.compile(r"[^\W\d_]+")
_OTHERS = ("de", "fr", "es", "pt", "it", "nl", "pl", "tr", "id", "vi", "sv", "ru", "zh", "ja", "ko")


def summary(docstring: str) -> str:
    """First sentence of a doc comment, without URLs, HTML, doc tags and roles; "" if nothing remains."""
    text = docstring
    if "<summary>" in text:
        found = _XML_SUMMARY.search(text)
        text = found.group(1) if found else text
    if "<" in text or "```" in text:
        text = _HTML.sub("", _PARAGRAPH.sub("\n\n", _CODE_BLOCK.sub("\n\n", _XML_REFERENCE.sub(_last_name, text))))
    for paragraph in _paragraphs(text):
        sentence = _sentence(paragraph)
        if sentence is None:
            return ""
        if sentence:
            return sentence
    return ""


def _paragraphs(text: str) -> list[str]:
    return _BLANK_LINE.split(text.strip(), maxsplit=_PARAGRAPHS)[:_PARAGRAPHS]


def _sentence(text: str) -> str | None:
    """First sentence of a paragraph; "" if it holds none, None if the prose is over."""
    if "&" in text:
        for entity, sign in _ENTITY.items():
            text = text.replace(entity, sign)
    over = False
    if "@" in text or ":" in text or "\\" in text:
        text = _INLINE_TAG.sub(_link_text, _INHERITED.sub("", text))
        while opening := _OPENING_TAG.match(text):
            text = text[opening.end() :]
    if "://" in text or "www." in text:
        text = _URL.sub("", text)
    tag = _BLOCK_TAG.search(text)
    if tag:
        text, over = text[: tag.start()], True
    words = " ".join(_UNDERLINE.sub("", text).split())
    sentence = _SENTENCE_END.split(words, maxsplit=1)[0]
    if not _MARKUP.isdisjoint(sentence):
        for pattern in (_ROLE, _RDOC_LINK, _MARKDOWN_LINK, _RDOC_CODE):
            sentence = pattern.sub(_first_group, sentence)
    sentence = fix_unicode(sentence.strip(" \t-*/#:="))
    return sentence or (None if over else "")


def _first_group(found: re.Match[str]) -> str:
    return next((group for group in found.groups() if group), "")


def _last_name(found: re.Match[str]) -> str:
    return found.group(1).split("(")[0].rsplit(".", 1)[-1]


def _link_text(found: re.Match[str]) -> str:
    """Of `{@link Type#method(int) label}` the label, or else the name."""
    target, _, label = found.group(1).strip().partition(" ")
    return label.strip() or target.partition("|")[2] or target.lstrip("#").replace("#", ".")


def drop_reason(text: str, min_words: int, max_words: int) -> str:
    """Why a summary is no text for a pair; "" if it is one."""
    words = len(text.split())
    if words < min_words:
        return "summary_too_short"
    if words > max_words:
        return "summary_too_long"
    if _NOT_PROSE.match(text):
        return "not_prose"
    if words < 8 and _POINTER.match(text):
        return "points_elsewhere"
    if _LICENSE.search(text):
        return "licence"
    other = len(_WORD.sub("", text))
    if other == len(text):
        return "summary_without_letters"
    if other - text.count(" ") > 0.4 * len(text):
        return "not_prose"
    return "" if is_english(text) else "not_english"


def fix_unicode(text: str) -> str:
    """Text with mojibake and stray control characters mended (by ftfy); ligatures and quotes stay."""
    return text if text.isascii() and text.isprintable() else _fix(text)


def _fix(text: str) -> str:
    import ftfy

    return " ".join(ftfy.fix_text(text, _ftfy_config()).split())


@cache
def _ftfy_config() -> Any:
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False, fix_latin_ligatures=False, fix_character_width=False, uncurl_quotes=False, explain=False
    )


def is_english(text: str) -> bool:
    """Whether a sentence is English, as far as one can tell from so little; py3langid decides where words do not."""
    if text.isascii():
        if not _ENGLISH.isdisjoint(_WORD.findall(text.lower())):
            return True
    else:
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
