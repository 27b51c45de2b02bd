(let_declaration pattern: (identifier) @local)
(let_declaration pattern: (tuple_pattern (identifier) @local))
(for_expression pattern: (identifier) @local)
(for_expression pattern: (tuple_pattern (identifier) @local))
(shorthand_field_initializer (identifier) @shorthand)

; A type may have the name of a variable.
(type_identifier) @type
