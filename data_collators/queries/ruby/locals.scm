(assignment left: (identifier) @local)
(operator_assignment left: (identifier) @local)
(left_assignment_list (identifier) @local)
(destructured_left_assignment (identifier) @local)
(exception_variable (identifier) @local)
(for pattern: (identifier) @local)

; `f(name:)` and `in {name:}` are short for a key and a variable of one name; that of a keyword parameter is its key.
(pair key: (hash_key_symbol) @free !value)
(keyword_pattern key: (hash_key_symbol) @free !value)
(keyword_parameter name: (identifier) @free)
