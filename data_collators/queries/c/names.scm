(identifier) @variable
(type_identifier) @variable
(statement_identifier) @variable
(field_identifier) @attribute

(struct_specifier name: (type_identifier) @class body: (_))
(union_specifier name: (type_identifier) @class body: (_))
(enum_specifier name: (type_identifier) @class body: (_))
(type_definition declarator: (type_identifier) @class)
(type_definition declarator: (_ declarator: (type_identifier) @class))
(type_definition declarator: (_ declarator: (_ declarator: (type_identifier) @class)))
(type_definition
  declarator: (function_declarator
    declarator: (parenthesized_declarator (pointer_declarator declarator: (type_identifier) @class))))
(type_definition
  declarator: (pointer_declarator
    declarator: (function_declarator
      declarator: (parenthesized_declarator (pointer_declarator declarator: (type_identifier) @class)))))

(function_declarator declarator: (identifier) @function)
(function_definition
  declarator: (function_declarator declarator: (parenthesized_declarator (identifier) @function)))
(preproc_function_def name: (identifier) @function)

(parameter_declaration
  declarator: [
    (identifier) @argument
    (_
      declarator: [
        (identifier) @argument
        (_ declarator: [(identifier) @argument (_ declarator: (identifier) @argument)])
      ])
  ])
(parameter_declaration
  declarator: (_ declarator: (parenthesized_declarator (pointer_declarator declarator: (identifier) @argument))))
(parameter_declaration
  declarator: (_
    declarator: (_ declarator: (parenthesized_declarator (pointer_declarator declarator: (identifier) @argument)))))
; K&R definitions
(parameter_list (identifier) @argument)
(function_definition
  (declaration
    declarator: [
      (identifier) @argument
      (_ declarator: [(identifier) @argument (_ declarator: (identifier) @argument)])
    ]))

(call_expression function: (identifier) @call)
(call_expression function: (field_expression field: (field_identifier) @call))
(macro_type_specifier name: (identifier) @call)

; The bodies of macros are plain text, where their parameters would stay in sight.
(preproc_params (identifier) @keep)
((preproc_arg) @variable (#match? @variable "^[ \t]*[A-Za-z_][A-Za-z0-9_]*[ \t\r]*$"))

; Assembly names its operands in strings.
(gnu_asm_input_operand symbol: (identifier) @keep)
(gnu_asm_output_operand symbol: (identifier) @keep)
(attribute_specifier (argument_list (identifier) @keep))
(attribute_specifier (argument_list (call_expression function: (identifier) @keep)))
(attribute name: (identifier) @keep)
(attribute prefix: (identifier) @keep)
(ms_declspec_modifier (identifier) @keep)
