"""The first sentence of a doc comment as the text of a pair, in any of the languages' own forms.

What the paper asks for (arXiv 2402.01935, appendix A.2): no URLs, HTML or doc tags, no broken unicode; and what reading
real pairs showed besides: lists, wiki marks and labels of links that belong to the page, not to the sentence.
"""

from __future__ import annotations

import html
import re
from functools import cache
from typing import Any

# Patterns take up to the square of a text's length; no first sentence stands further down than this.
_LONGEST = 4000
# Signs of our own, of Unicode's private use: brackets inside code, and a URL that was there.
_LEFT, _RIGHT, _LINK, _AT = "\ue000", "\ue001", "\ue002", "\ue003"

# Page markup: HTML, XML, Markdown fences.
_CODE_SPAN = re.compile(r"(?<!`)(`{1,2})(?!`)([^`\n]+(?:\n[^`\n]+)?)\1(?!`)")
_XML_SUMMARY = re.compile(r"(?is)<summary>(.*?)(?:</summary>|\Z)")
_XML_OTHER = re.compile(
    r"(?is)<(param|typeparam|returns|exception|value|permission|example)\b(?:[^<>]*/>|.*?(?:</\1>|\Z))|</param>"
)
_XML_LABEL = re.compile(r"(?s)<(see|seealso|a)\b[^<>]*(?<!/)>([^<>]+)</\1>")
_XML_REFERENCE = re.compile(
    r"""<(?:see|seealso|paramref|typeparamref|inheritdoc)\b[^<>"']*["'](?:[A-Z]:)?([^"']*)["'][^<>]*>"""
)
_CODE_BLOCK = re.compile(r"(?s)<pre\b.*?(?:</pre>|\Z)|```.*?(?:```|\Z)|\{@code[ \t]*\n.*?\n[ \t]*\}")
_PARAGRAPH = re.compile(r"(?i)<(?:p|br|ul|ol|li|h\d|dl|table|blockquote|para|remarks)\s*/?>")
# Tags that doc comments use; others, as in `List<String>`, are text.
_HTML = re.compile(
    r"(?is)</?(?:abbr|acronym|address|a|blockquote|body|big|br|b|caption|center|cite|code|col|c|dd|del|devdoc|dfn|div|dl"
    r"|doc|dt|em|example|exception|font|h\d|hr|html|include|info|inheritdoc|internalonly|ins|img|i|item|kbd|listheader"
    r"|list|li|nobr|note|ol|param|paramref|para|permission|pre|p|q|remarks|returns|samp|seealso|see|small|span|strike"
    r"|strong|sub|summary|sup|s|table|tbody|td|term|tfoot|thead|th|tr|tt|typeparamref|typeparam|ul|u|var|warning|warn)"
    r"(?:\s[^<>]*)?/?>|<!--.*?-->"
)

# Tags of doc comments.
_INLINE_CODE = re.compile(r"\{@(?:code|literal)\s+((?:[^{}]|\{[^{}]*\})*)\}")
_INLINE_TAG = re.compile(r"\{@(?:link|linkplain|code|literal|value|see|tutorial)\b([^{}]*)\}")
_LINK_TARGET = re.compile(r"([^\s(|]*(?:\([^()]*\))?)(.*)", re.DOTALL)
_INHERITED = re.compile(
    r"(?i)\{@inherit-?doc\b[^}]*\}|@inherit-?doc|<inheritdoc\s*/?>|:nodoc:|:?call-seq:.*?(?=\n\s*\n|\Z)"
    r"|@![a-z]+[^\n]*",
    re.DOTALL,
)
# Tags that prose may follow, and which say nothing themselves; tags whose own text says why, not what.
_OPENING_TAG = re.compile(
    r"^\s*(?:(?:internal|public|private|protected|semipublic)\s*:(?=\s)"
    r"|@api[ \t]+(?:private|public|semipublic)\b"
    r"|[@\\](?:brief|short|summary|description|desc|details|internal|private|protected|public|package|api|ignore"
    r"|static|final|async|abstract|function|method|constructor|override|export|note|fn)\b"
    r"(?:\s*\{[^}]*\})?[ \t]*:?)",
    re.IGNORECASE,
)
_OTHER_TAG = re.compile(
    r"^\s*[@\\](?:(?:deprecated|suppress)\b[^\n]*(?:\n|\Z)|internal\b[^\n]*"
    r"(?:only be |be only |be used only|not covered by|exists only|only public|exporting for|not be (?:called|used))"
    r"[^\n]*(?:\n|\Z))"
)
# A line that begins a list of parameters, results, examples: the prose ends before it.
_BLOCK_TAG = re.compile(
    r"(?m)^\s*(?:[@\\][A-Za-z][\w-]*|:[\w ]+:(?=\s|$)"
    r"|(?:Args|Arguments|Parameters|Returns?|Yields|Raises|Throws|Examples?|Notes?|See [Aa]lso|Usage|Since|Params"
    r"|Attributes|Options|Inputs?|Outputs?)\s*:?\s*$).*"
)
_TODO = re.compile(r"(?:\s(?:TODO|FIXME|XXX)\b|\n\s*(?://\s*)?(?i:todo|fixme)\b).*", re.DOTALL)

# Orders to Go's tools.
_DIRECTIVE = re.compile(r"(?m)^[ \t]*(?:\+[a-z][\w-]*(?:[:=]\S*)?|go:[a-z]+\b.*|nolint\b.*)[ \t]*$")

# Lines and sentences.
_BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")
# A doc comment may begin with paragraphs of tags alone; so many are looked at.
_PARAGRAPHS = 4
_UNDERLINE = re.compile(r"(?m)^\s*[-=~^*]{3,}\s*$")
_LIST_ITEM = re.compile(r"(?m)(?<=\n)[ \t]*(?:(?:[-*•+]|\d{1,2}[.)]|[a-z]\))[ \t]+(?=\S)|\w+[ \t]*::[ \t])")
_HEADING = re.compile(r"(?m)^\s*={1,6}[ \t]+\S.*$")
_DANGLING = re.compile(
    r"(?i)\b(?:if|when|where|either|whether or not|that|are|of|by|they|it|contains|can be a|the following)\s*:?$"
)
_NEW_SENTENCE = re.compile(
    r"(?:This|These|The|If|It|Its|Note|Will|Does|Returns?|Used|Called|Should|Must|Only|When|You|We|For|In|By|As|Uses?"
    r"|Also|Otherwise|Throws?|See|Can|Because|However|Not|Please|Supports|Sets|Gets|An?) "
)
_LINE_WIDTH = 72
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\beg\.)(?<!\bie\.)(?<!\betc\.)(?<!\bvs\.)(?<!\bcf\.)(?<!\b[A-Z]\.[A-Z]\.)"
    r"(?<!\bs\.t\.)(?<!\bviz\.)(?<!\bEq\.)(?<!\bFig\.)"
    r"\s+(?=[A-Z(\"'`\[{<])"
    r"|(?<=[a-z)\]]{2}\.)(?<!\betc\.)(?<!\bresp\.)(?<!\bincl\.)(?<!\bapprox\.)(?<!\beg\.)(?<!\bie\.)(?<!\bvs\.)(?<!\bcf\.)"
    r"\s+(?=[a-z]{2})"
)

_LEADING_SIGNS = re.compile(r"^(?:[-*/#:=]+(?=\s)|\s)+")

# Marks inside a sentence.
_URL = re.compile(r"(?:https?|ftp|file)://[^\s>)\]]+?(?=[.,;:]?(?:[\s>)\]]|$))|\bwww\.\S+")
_LINKED = re.compile(
    r"(?i)(?:[,;:(\[]|\b(?:see|as per|per|according to|as (?:specified|defined|described) in|proposed at|at|from"
    rf"|(?:sourced|copied|adapted) from))?\s*{_LINK}.*$"
)
_HANGING = re.compile(r"(?i)(?: (?:in|of|to|for|with|by|the|a|an|from|via|per|as|see))+$")
_MARKS = (
    re.compile(r":[A-Za-z:+-]+:`~?([^`<]*?)(?:\s*<[^`]*>)?`"),  # Sphinx roles
    re.compile(r"(?:\{([^{}\n]+)\}|\b(\w+))\[(?:rdoc-ref:|link:|http)[^\]]*\]"),  # RDoc links
    re.compile(r"\[([^\]\n]+)\]\([^)\s]*\)"),  # Markdown links
    re.compile(r"\[\[(?:link-)?([a-z][\w.-]*|[A-Z]\w*[a-z]\w*\.[\w.]+)\]\]"),  # wiki links
    re.compile(r"(?<![\w+])\+([\w:.#?!]+)\+(?![\w+])|<tt>(.*?)</tt>|``([^`\n]+)``|`([^`\n]+)`"),  # code
    re.compile(r"%%([\w.\[\]]+)%%"),
    re.compile(r"\*\*([^*]+)\*\*"),
    re.compile(r"(?<![\w*])\*([^*\s](?:[^*]*[^*\s])?)\*(?![\w*])"),
    re.compile(r"(?<![\w|])\|([\w.]+)\|(?![\w|])"),
    re.compile(r"(?<![\w/])_([A-Za-z]\w*[a-z]|[a-z])_(?!\w)"),
    re.compile(r"(?<![\w\\}])\\?\{(?:#|(?=[A-Z]\w*[a-z]))(?:[\w:.#?!=\[\]]+\s+([^{}]+)|([\w:.#?!=\[\]]+))\}"),  # YARD
    re.compile(r"\s*\[[\w#*]+\]_()"),  # footnotes of reStructuredText
    re.compile(r"(?<!\w)\\(?=[A-Z]\w)()"),  # RDoc's "do not link this"
)
_MARKUP = frozenset("`[+<%*|_{\\" + _LINK)
# C# writes type arguments in braces, since brackets are XML's.
_GENERIC = re.compile(r"\b([A-Z]\w+)\{([A-Z]\w*(?:, ?[A-Z]\w*)*)\}")
_EPYTEXT = re.compile(r"\b[LCIBMUXEGSF]\{([^{}<>]*)(?:<[^{}<>]*>)?\}")
# A docstring may begin with the signature, as of functions written in C: `get(key) -> value`.
_SIGNATURE = re.compile(r"\A\s*[\w.]+\s*\([^)\n]*\)\s*(?:-+>|=+>)[^\n]*(?:\n|\Z)")
# `dn' as C programmers quote.
_QUOTED = re.compile(r"`([^`'\s]+)'")
# What follows a name that only stands in front of the description: the end of the line, or a dash.
_AFTER = r"(?:(?:\([^()\n]*\))?[ \t]*(?:-{1,3}|–|—|:)?[ \t]*\n\s*|(?:\(\))?\s*(?:-{1,3}|–|—|:)\s+)"
_AFTER_NAME = re.compile(_AFTER)
_OTHER_NAME = re.compile(rf"[A-Za-z]\w*(?:_\w+|[a-z][A-Z]\w*){_AFTER}")


def summary(docstring: str, name: str = "") -> str:
    """First sentence of a doc comment, without URLs, HTML, doc tags and roles; "" if nothing remains.

    The name of the function is taken off where it only stands in front of the sentence, as in `name - Does this`.
    """
    text = docstring[:_LONGEST]
    text = _without_pages(text) if "<" in text or "```" in text else text
    text = _SIGNATURE.sub("", text, count=1) if "->" in text[:200] else text
    text = _without_name(_HEADING.sub("\n\n", text) if "= " in text else text, name)
    for paragraph in _BLANK_LINE.split(text.strip(), maxsplit=_PARAGRAPHS)[:_PARAGRAPHS]:
        sentence = _sentence(paragraph)
        if sentence is None:
            return ""
        if sentence:
            return sentence.replace(_LEFT, "<").replace(_RIGHT, ">").replace(_AT, "@")
    return ""


def _without_name(text: str, name: str) -> str:
    """The text without the name of the function, or another compound name, that only stands in front of it."""
    if not name:
        return text
    head = text[:200].lstrip(" \t-")
    start = text.find(head) if head else 0
    found = _AFTER_NAME.match(text, start + len(name)) if head.startswith(name) else _OTHER_NAME.match(text, start)
    return text[found.end() :] if found is not None and text[found.end() :].strip() else text


def _without_pages(text: str) -> str:
    """Text without HTML, XML and blocks of code; code inside sentences keeps its brackets."""
    if "`" in text:
        text = _CODE_SPAN.sub(lambda found: found.group().replace("<", _LEFT).replace(">", _RIGHT), text)
    if "{@" in text:
        text = _INLINE_CODE.sub(_protected, text)
    if "<summary" in text:
        found = _XML_SUMMARY.search(text)
        text = found.group(1) if found else text
    elif "</" in text or "/>" in text:
        text = _XML_OTHER.sub("", text)
    text = _XML_REFERENCE.sub(_last_name, _XML_LABEL.sub(r"\2", text))
    return _HTML.sub("", _PARAGRAPH.sub("\n\n", _CODE_BLOCK.sub("\n\n", text)))


def _sentence(text: str) -> str | None:
    """First sentence of a paragraph; "" if it holds none, None if the prose is over."""
    if "&" in text:
        text = html.unescape(text)
    if "@" in text or ":" in text or "\\" in text:
        text = _without_tags(text)
    if "://" in text or "www." in text:
        text = _URL.sub(_LINK, text)
    tag = _BLOCK_TAG.search(text)
    text = _TODO.sub("", text[: tag.start()] if tag else text).strip()
    if "\n" in text:
        text = _UNDERLINE.sub("", _DIRECTIVE.sub("", text)).strip()
        item = _LIST_ITEM.search(text)
        if item is not None:
            text = text[: item.start()].rstrip()
            if _DANGLING.search(text):
                return None
        text = _first_lines(text)
    sentence = _without_marks(_SENTENCE_END.split(" ".join(text.split()), maxsplit=1)[0])
    sentence = fix_unicode(_LEADING_SIGNS.sub("", sentence).rstrip(" \t-:="))
    return sentence or (None if tag else "")


def _without_tags(text: str) -> str:
    """Text without tags inside the prose and in front of it."""
    if text.startswith("swagger:"):  # of Go's API descriptions
        return ""
    text = _INHERITED.sub("", text)
    if "{@" in text:
        text = _INLINE_TAG.sub(_link_text, _INLINE_CODE.sub(_protected, text))
    while opening := _OTHER_TAG.match(text) or _OPENING_TAG.match(text):
        text = text[opening.end() :]
    return text


def _without_marks(sentence: str) -> str:
    """A sentence without links and marks of emphasis."""
    if _LINK in sentence:
        sentence = _HANGING.sub("", _LINKED.sub("", sentence).rstrip(" ,"))
    if _MARKUP.isdisjoint(sentence):
        return sentence
    sentence = _QUOTED.sub(r"\1", sentence)
    while "{" in sentence and sentence != (plain := _EPYTEXT.sub(r"\1", sentence)):
        sentence = plain
    sentence = _GENERIC.sub(r"\1<\2>", sentence)
    for mark in _MARKS:
        sentence = mark.sub(_first_group, sentence)
    return sentence


def _protected(found: re.Match[str]) -> str:
    """Code, whose brackets are no markup."""
    return found.group(1).replace("<", _LEFT).replace(">", _RIGHT).replace("@", _AT)


def _first_lines(text: str) -> str:
    """The lines up to one that begins a new sentence though the one before has room for its first word, but no stop."""
    lines = text.split("\n")
    width = max(_LINE_WIDTH, max(map(len, lines)))
    for number in range(1, len(lines)):
        before, line = lines[number - 1].rstrip(), lines[number].lstrip()
        if not before or not _NEW_SENTENCE.match(line) or before[-1] in ".,:;-([{/":
            continue
        if len(before) + 1 + line.index(" ") <= width - 2:
            return "\n".join(lines[:number])
    return text


def _first_group(found: re.Match[str]) -> str:
    return next((group for group in found.groups() if group), "")


def _last_name(found: re.Match[str]) -> str:
    return found.group(1).split("(")[0].rsplit(".", 1)[-1]


def _link_text(found: re.Match[str]) -> str:
    """Of `{@link Type#method(int) label}` the label, or else the name."""
    target, label = _LINK_TARGET.match(found.group(1).strip()).groups()
    return label.strip().lstrip("|").strip() or target.lstrip("#").replace("#", ".")


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
