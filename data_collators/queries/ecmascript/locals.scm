(variable_declarator name: (identifier) @local)
(array_pattern (identifier) @local)
(array_pattern (assignment_pattern left: (identifier) @local))
(pair_pattern value: [(identifier) @local (assignment_pattern left: (identifier) @local)])
(rest_pattern (identifier) @local)
(shorthand_property_identifier_pattern) @local
(for_in_statement left: (identifier) @local)
(catch_clause parameter: (identifier) @local)

; `{name}` is short for `{name: name}`, of which the key stays.
[(shorthand_property_identifier) (shorthand_property_identifier_pattern)] @shorthand
