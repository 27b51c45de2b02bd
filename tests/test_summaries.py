"""The text of a pair: doc comments as real packages write them, and the sentence that a reader would take from them."""

from __future__ import annotations

import pytest

from data_collators.builders.summaries import fix_unicode, summary
from data_collators.builders.text_filters import drop_reason, is_english
from data_collators.doc_comments import comment_text


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        ("Return the sum. And more.", "Return the sum."),
        ("Return the sum\nof all parts.\n\nSecond paragraph.", "Return the sum of all parts."),
        ("Use e.g. this value.", "Use e.g. this value."),
        ("Return c s.t. the sum is even.", "Return c s.t. the sum is even."),
        (":param x: nothing else", ""),
        ("Parses the URI\n\nArgs:\n    uri: it", "Parses the URI"),
        # URLs
        ("Parse it, see https://example.org/x for more.", "Parse it"),
        ("Signs typed data in https://example.org/x.", "Signs typed data"),
        ("Classify flowers (https://example.org/x).", "Classify flowers"),
        # Sphinx, epytext, reStructuredText
        ("Make a :class:`Foo.Bar` from it.\n:param x: a thing", "Make a Foo.Bar from it."),
        ("Ensure that C{path} is a L{Dir<x.Dir>}.", "Ensure that path is a Dir."),
        ("Compute the norm [1]_ of *x*.", "Compute the norm of x."),
        ("get(key[, default]) -> value\n\nReturn the value for key.", "Return the value for key."),
        # HTML, Javadoc
        ("Open <b>it</b> at once.\n@param x it", "Open it at once."),
        ("Adds a tag.<p>Second paragraph.", "Adds a tag."),
        ("Returns {@link Math#max(float, float)} of both.", "Returns Math.max(float, float) of both."),
        ("Returns {@link #run() the result} of it.", "Returns the result of it."),
        ("Checks {@code n == 0} and {@code List<T>}.", "Checks n == 0 and List<T>."),
        ("Set the attributes of the `<table>` element.", "Set the attributes of the <table> element."),
        ("Makes a List<String> of a &lt;div&gt;.", "Makes a List<String> of a <div>."),
        ("{@inheritDoc}", ""),
        ("@return the value of it", ""),
        # XML
        ("<summary>\nReturns a <see cref=\"T:Foo.Bar\"/>.\n</summary>\n<param name='x'>no</param>", "Returns a Bar."),
        ('<summary>Creates a <see cref="X">Task</see> of it.</summary>', "Creates a Task of it."),
        ("<summary>Converts a Task{TResult} of it.</summary>", "Converts a Task<TResult> of it."),
        ("<exception cref='E'>buffer is null.</exception>", ""),
        # tags in front
        ("@brief Adds one to it.", "Adds one to it."),
        ("@private\n\nRemove all of it.", "Remove all of it."),
        ("@deprecated use another\nReads all of it.", "Reads all of it."),
        ("@api private\nPerforms a query.", "Performs a query."),
        ("INTERNAL: Sets the owner of it.", "Sets the owner of it."),
        ("call-seq:\n  a.b -> c\n\nReturns the c of it.", "Returns the c of it."),
        ("swagger:operation GET /1.0 x\n\nGet all of it", "Get all of it"),
        ("Reads +x+ for {#other} in <tt>y</tt>.", "Reads x for other in y."),
        # lists, glued lines, to-dos
        ("Gets it from\n- a\n- b", "Gets it from"),
        ("Gets it if:\n- a\n- b", ""),
        ("Formats an address\n1. take it", "Formats an address"),
        ("Makes a router\nThe router holds all of them", "Makes a router"),
        ("Creates a pool. pool_config is a map.", "Creates a pool."),
        ("Reads all of it TODO make it fast", "Reads all of it"),
        ("Unlocks the mutex.\n+checklocksignore", "Unlocks the mutex."),
        ("-1 for an error, 0 otherwise", "-1 for an error, 0 otherwise"),
    ],
)
def test_summaries(docstring, text):
    assert summary(docstring) == text


@pytest.mark.parametrize(
    ("docstring", "name", "text"),
    [
        ("final_cost\n   Final estimate of it.", "final_cost", "Final estimate of it."),
        ("do_it() -- handler for it", "do_it", "handler for it"),
        ("cume_dist - rank of a row", "window_cume_dist", "rank of a row"),
        ("sh_init() creates it all.", "sh_init", "sh_init() creates it all."),
        ("count", "count", "count"),
    ],
)
def test_names_in_front_are_taken_off(docstring, name, text):
    assert summary(docstring, name) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Two words", "summary_too_short"),
        ("w " * 257, "summary_too_long"),
        ("Вернуть сумму всех чисел", "not_english"),
        ("Gibt die Summe aller Zahlen einer Liste zurück", "not_english"),
        ("Devuelve la suma de todos los elementos en una lista", "not_english"),
        ("1 2 3 4", "summary_without_letters"),
        ("TODO: do it later", "not_prose"),
        ("Note that it is slow", "not_prose"),
        ("Preconditions: the lock is held", "not_prose"),
        ("a(b, c) == {x}[0] - (1)", "not_prose"),
        ("See the other function", "points_elsewhere"),
        ("Write implements io.Writer.", "points_elsewhere"),
        ("As above, but for several of them at once", "points_elsewhere"),
        ("Workhorse function for dsa_create and dsa_destroy.", "points_elsewhere"),
        ("This method must only be called once at the start", "not_prose"),
        ("Called when this.pos reaches 64.", "not_prose"),
        ("Called by the loop to read what is left", "not_prose"),
        ("Called to read what is left", ""),
        ("If we allow it, it can happen that it fails", "not_prose"),
        ("The matcher was contributed by Joe", "not_prose"),
        ("Returns all groups for loading based on", "unfinished"),
        ("Processes this test, when one of its tokens is met", "boilerplate"),
        ("Implements initial delay before it starts", ""),
        ("Len returns the number of items", ""),
        ("Creates a new instance of this class.", "boilerplate"),
        ("(c) 2020 Somebody Else Inc", "licence"),
        ("Finds code points c satisfying f(c) fast", ""),
        ("Return the sum", ""),
        ("Delete a file.", ""),
    ],
)
def test_text_filters_name_their_reason(text, reason):
    assert drop_reason(text, 3, 256) == reason


def test_constructors_that_only_name_their_class():
    assert drop_reason("Creates a new Pool instance.", 3, 256, "Pool") == "boilerplate"
    assert drop_reason("Creates a new Pool instance.", 3, 256, "make_pool") == ""
    assert drop_reason("Creates a Pool of threads.", 3, 256, "Pool") == ""


def test_grammar_rules_are_no_prose():
    assert drop_reason("Sp = @Spacechar or nothing", 3, 256, "_Sp") == "not_prose"
    assert drop_reason("Sp = @Spacechar or nothing", 3, 256, "other") == ""


def test_terse_english_stays():
    for text in ("Validate schema cache lookup results carefully", "Compute Pearson correlation between vectors"):
        assert is_english(text)


def test_broken_unicode_is_mended_and_quotes_stay():
    assert fix_unicode("donâ€™t read the rÃ©sumÃ©") == "don’t read the résumé"
    assert fix_unicode("“quoted” ﬁne") == "“quoted” ﬁne"


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([b"/** One line. */"], "One line."),
        ([b"/**\n * First.\n *\n *   Indented.\n * Last.\n */"], "First.\n\n  Indented.\nLast."),
        ([b"/*! Doxygen.\n  more */"], "Doxygen.\nmore"),
        ([b"/// One.", b"/// Two."], "One.\nTwo."),
        ([b"//-----------", b"// Text.", b"//-----------"], "Text."),
        ([b"# Ruby.", b"#   code", b"# more."], "Ruby.\n  code\nmore."),
        ([b"=begin\nBlock.\n=end"], "Block."),
        ([b"// Does it.", b"//go:noinline"], "Does it."),
        ([b"/** caf\xe9 */"], "caf�"),
        ([b"////////////"], ""),
        ([b"/**/"], ""),
    ],
)
def test_text_of_doc_comments(pieces, text):
    assert comment_text(pieces) == text
