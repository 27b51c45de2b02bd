(identifier) @variable
(type_identifier) @variable
(label_name) @variable
(field_identifier) @attribute

(type_spec name: (type_identifier) @class)
(type_alias name: (type_identifier) @class)

(function_declaration name: (identifier) @function)
(method_declaration name: (field_identifier) @function)
(method_elem name: (field_identifier) @function)
; functions without a name of their own
(short_var_declaration
  left: (expression_list . (identifier) @function .)
  right: (expression_list . (func_literal) .))
(var_spec name: (identifier) @function value: (expression_list . (func_literal) .))
(assignment_statement
  left: (expression_list . [(identifier) @function (selector_expression field: (field_identifier) @function)] .)
  right: (expression_list . (func_literal) .))
(keyed_element key: (literal_element (identifier) @function) value: (literal_element (func_literal)))

(parameter_declaration name: (identifier) @argument)
(variadic_parameter_declaration name: (identifier) @argument)

(call_expression function: (identifier) @call)
(call_expression function: (selector_expression field: (field_identifier) @call))
(call_expression function: (type_instantiation_expression type: (type_identifier) @call))
(type_conversion_expression type: (type_identifier) @call)
(type_conversion_expression type: (generic_type type: (type_identifier) @call))
(type_conversion_expression type: (generic_type type: (qualified_type name: (type_identifier) @call)))

(qualified_type name: (type_identifier) @attribute)
; keys of structs; those of maps are expressions
(composite_literal
  type: [(type_identifier) (qualified_type) (generic_type) (struct_type)]
  body: (literal_value (keyed_element key: (literal_element (identifier) @attribute))))
(literal_element (literal_value (keyed_element key: (literal_element (identifier) @attribute))))

(package_clause (package_identifier) @keep)
(qualified_type package: (package_identifier) @import)
(import_spec name: (package_identifier) @import)
(import_spec !name path: (interpreted_string_literal (interpreted_string_literal_content) @import))
