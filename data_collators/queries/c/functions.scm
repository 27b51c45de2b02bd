(function_definition
  declarator: (function_declarator declarator: (identifier) @name)
  body: (compound_statement) @body) @function
(function_definition
  declarator: (function_declarator declarator: (parenthesized_declarator (identifier) @name))
  body: (compound_statement) @body) @function
(function_definition
  declarator: (pointer_declarator declarator: (function_declarator declarator: (identifier) @name))
  body: (compound_statement) @body) @function
(function_definition
  declarator: (pointer_declarator
    declarator: (pointer_declarator declarator: (function_declarator declarator: (identifier) @name)))
  body: (compound_statement) @body) @function
; functions that return pointers to functions
(function_definition
  declarator: (function_declarator
    declarator: (parenthesized_declarator
      (pointer_declarator declarator: (function_declarator declarator: (identifier) @name))))
  body: (compound_statement) @body) @function

(struct_specifier name: (type_identifier) @name body: (_) @body) @class
(union_specifier name: (type_identifier) @name body: (_) @body) @class
(enum_specifier name: (type_identifier) @name body: (_) @body) @class
(declaration type: (_ name: (type_identifier) @name body: (_) @body)) @class
(type_definition type: (_ name: (type_identifier) @name body: (_) @body)) @class
(type_definition type: (_ !name body: (_) @body) declarator: (type_identifier) @name) @class

(return_statement) @return
(comment) @comment
