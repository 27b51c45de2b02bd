"""The words of the rules in `query_style`: tables of English and of what people call programming languages."""

from __future__ import annotations

# What people call the languages, with how often.
NAMES: dict[str, dict[str, float]] = {
    "python": {"python": 0.93, "python 3": 0.07},
    "java": {"java": 1},
    "javascript": {"javascript": 0.65, "js": 0.25, "node js": 0.1},
    "typescript": {"typescript": 0.8, "ts": 0.2},
    "csharp": {"c#": 0.9, "csharp": 0.1},
    "c": {"c": 0.9, "c language": 0.1},
    "ruby": {"ruby": 1},
    "php": {"php": 1},
    "go": {"golang": 0.65, "go": 0.35},
    "rust": {"rust": 1},
}

VERBS = frozenset(
    """
    abort accept access accumulate acquire activate add adjust advance aggregate allocate allow alter append apply
    ask assert assign associate attach authenticate await begin bind block broadcast build cache calculate call
    cancel cast change check choose clean clear clone close coerce collapse collect combine compare compile complete
    compose compress compute concatenate configure connect construct consume convert copy count create deactivate
    decide declare decode decompose decompress decorate decrement decrypt define delegate delete denote derive
    describe deserialize destroy detach detect determine disable discard disconnect dispatch display dispose divide
    do download draw drop dump duplicate edit emit enable encapsulate encode encrypt end enqueue ensure enter escape
    establish estimate evaluate examine exclude execute expand export expose extend extract fetch fill filter finalize
    find finish fire fit fix flatten flush force format forward free freeze gather generate get give go group guess
    handle hash hide highlight identify implement import include increase increment indicate infer inform initialise
    initialize initiate inject insert inspect install instantiate interpret intersect invalidate invoke issue
    iterate join keep launch limit link list load locate lock log look lookup make manage map mark match measure
    merge modify mount move multiply navigate normalize notify obtain open optimize order output overlap override
    overwrite pack pad parse pass patch pause perform pick place plot poll pop populate post predict prepare prepend
    preprocess prevent print process produce propagate provide publish pull push put query queue raise read rebuild
    receive reconstruct record reduce refresh register reject release reload remember remove rename render repeat
    replace reply report represent request require reserve reset resize resolve restart restore resume retrieve
    return reverse rewrite rotate round run sample sanitize save scale scan schedule scroll search select send
    separate serialize set setup shift show shuffle shut sign simplify simulate skip sleep solve sort spawn specify
    split squash stack start stop store stream strip submit subscribe substitute subtract sum suspend swap switch
    synchronize take tell terminate test throw toggle tokenize touch trace track transfer transform translate
    transpose traverse trigger trim truncate try turn undo unescape unlock unpack unregister unset unsubscribe
    unwrap update upload use validate verify visit wait walk watch wrap write yield zip
    """.split()
)

# What a verb is changed to, by chance: searches say `get` where doc comments say `return`.
OTHER_VERBS = {
    "return": ("get", "get", "get", "find", "return"),
    "retrieve": ("get", "get", "fetch"),
    "obtain": ("get",),
    "fetch": ("get", "fetch"),
    "yield": ("get", "iterate over"),
    "compute": ("calculate", "get"),
    "calculate": ("compute", "get", "calculate"),
    "determine": ("find", "get"),
    "construct": ("create", "make", "build"),
    "generate": ("create", "make", "generate"),
    "instantiate": ("create",),
    "initialize": ("create", "init", "set up"),
    "remove": ("delete", "remove"),
    "delete": ("remove", "delete"),
    "invoke": ("call",),
    "execute": ("run",),
    "perform": ("do", "run"),
    "create": ("create", "make"),
    "append": ("add",),
    "insert": ("add", "insert"),
    "retain": ("keep",),
    "display": ("show",),
    "verify": ("check",),
    "validate": ("check", "validate"),
    "modify": ("change",),
    "terminate": ("stop", "kill"),
    "transform": ("convert", "change"),
    "locate": ("find",),
    "concatenate": ("join", "combine"),
}

ALWAYS_CHANGED = ("return", "retrieve", "obtain")

# What begins so tells something, and asks for nothing.
STATEMENTS = frozenset(
    "is are was were be been has have had should must may might can could would this that these those it we you if "
    "when while where for because since not no note there here they its".split()
)

SPEAKERS = frozenset(("we", "you", "i", "us"))
ARTICLES = frozenset(("a", "an", "the"))

# Words that point to what the reader of a function sees, and a searcher does not.
POINTERS = frozenset(
    "given specified provided supplied passed this current these those its respective corresponding particular certain "
    "underlying associated actual internal newly".split()
)

ADVERBS = frozenset("recursively synchronously asynchronously safely actually simply also just only lazily".split())

DANGLING = frozenset(
    "a an the of to in on at by for with from and or nor but as is are be was were that which this if when whether not "
    "into onto via per than then so its it their his her any some no than each using based given where while".split()
)
