(identifier) @variable
(type_identifier) @variable
(metavariable) @variable
(field_identifier) @attribute
(shorthand_field_identifier) @attribute

(struct_item name: (type_identifier) @class)
(enum_item name: (type_identifier) @class)
(union_item name: (type_identifier) @class)
(trait_item name: (type_identifier) @class)
(type_item name: (type_identifier) @class)
(associated_type name: (type_identifier) @class)

(function_item name: (identifier) @function)
(function_signature_item name: (identifier) @function)
(macro_definition name: (identifier) @function)
(let_declaration pattern: (identifier) @function value: (closure_expression))
(field_initializer field: (field_identifier) @function value: (closure_expression))

(parameter pattern: (identifier) @argument)
(parameter pattern: (tuple_pattern (identifier) @argument))
(parameter pattern: (tuple_pattern (mut_pattern (identifier) @argument)))
(parameter pattern: (reference_pattern (identifier) @argument))
(parameter pattern: (slice_pattern (identifier) @argument))
(parameter pattern: (tuple_struct_pattern type: (_) (identifier) @argument))
(parameter pattern: (struct_pattern (field_pattern pattern: (identifier) @argument)))
(closure_parameters (identifier) @argument)
(closure_parameters (tuple_pattern (identifier) @argument))
(closure_parameters (reference_pattern (identifier) @argument))
(token_binding_pattern name: (metavariable) @argument)

(call_expression function: (identifier) @call)
(call_expression function: (scoped_identifier name: (identifier) @call))
(call_expression function: (field_expression field: (field_identifier) @call))
(call_expression function: (generic_function function: (identifier) @call))
(call_expression function: (generic_function function: (scoped_identifier name: (identifier) @call)))
(call_expression function: (generic_function function: (field_expression field: (field_identifier) @call)))
(macro_invocation macro: (identifier) @call)
; what is between the brackets of a macro is not parsed
(token_tree "." . (identifier) @attribute)
(token_tree (identifier) @call . (token_tree . "("))
(token_tree (identifier) @call . "!")
(macro_invocation (token_tree "," . (identifier) @keep . "="))
; macros whose names are good names for variables
((macro_invocation macro: (identifier) @keep)
  (#any-of? @keep "column" "concat" "env" "file" "format" "include" "line" "matches" "vec" "write"))
((token_tree (identifier) @keep . "!")
  (#any-of? @keep "column" "concat" "env" "file" "format" "include" "line" "matches" "vec" "write"))
(macro_invocation macro: (scoped_identifier name: (identifier) @call))

(scoped_identifier path: (_) name: (identifier) @attribute)
(scoped_type_identifier path: (_) name: (type_identifier) @attribute)
(enum_variant name: (identifier) @attribute)
(shorthand_field_initializer (identifier) @attribute)
(type_binding name: (type_identifier) @keep)

; whatever is in attributes stays
(attribute (identifier) @keep)
(attribute (_ (identifier) @keep))
(attribute (_ (_ (identifier) @keep)))
(attribute (_ (_ (_ (identifier) @keep))))

; modules, and the paths of `use`, however deep
(mod_item name: (identifier) @import)
(extern_crate_declaration (identifier) @import)
(use_declaration (identifier) @import)
(use_declaration (_ (identifier) @import))
(use_declaration (_ (_ (identifier) @import)))
(use_declaration (_ (_ (_ (identifier) @import))))
(use_declaration (_ (_ (_ (_ (identifier) @import)))))
(use_declaration (_ (_ (_ (_ (_ (identifier) @import))))))
(use_declaration (_ (_ (_ (_ (_ (_ (identifier) @import)))))))
(use_declaration (_ (_ (_ (_ (_ (_ (_ (identifier) @import))))))))
