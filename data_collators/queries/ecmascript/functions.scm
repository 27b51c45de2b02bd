(function_declaration name: (_) @name body: (_) @body) @function
(generator_function_declaration name: (_) @name body: (_) @body) @function
(method_definition name: [(property_identifier) (private_property_identifier)] @name body: (_) @body) @function
(class_declaration name: (_) @name body: (_) @body) @class
(export_statement declaration: (function_declaration name: (_) @name body: (_) @body)) @function
(export_statement declaration: (generator_function_declaration name: (_) @name body: (_) @body)) @function

; Expressions with a name of their own, and what stands around them.
(function_expression name: (_) @name body: (_) @body) @function
(generator_function name: (_) @name body: (_) @body) @function
(class name: (_) @name body: (_) @body) @class
(pair value: (function_expression name: (_) @name body: (_) @body)) @function
(variable_declaration . (variable_declarator
  value: (function_expression name: (_) @name body: (_) @body)) .) @function
(lexical_declaration . (variable_declarator
  value: (function_expression name: (_) @name body: (_) @body)) .) @function
(lexical_declaration . (variable_declarator value: (class name: (_) @name body: (_) @body)) .) @class
(export_statement declaration: (lexical_declaration . (variable_declarator
  value: (function_expression name: (_) @name body: (_) @body)) .)) @function
(expression_statement (assignment_expression right: [
  (function_expression name: (_) @name body: (_) @body)
  (assignment_expression right: (function_expression name: (_) @name body: (_) @body))
])) @function
(expression_statement (assignment_expression right: (class name: (_) @name body: (_) @body))) @class

; Expressions without, by the name that they are bound to.
(pair key: (property_identifier) @name value: [
  (function_expression !name body: (_) @body)
  (arrow_function body: (_) @body)
  (generator_function !name body: (_) @body)
]) @function
(variable_declarator name: (identifier) @name value: [
  (function_expression !name body: (_) @body)
  (arrow_function body: (_) @body)
  (generator_function !name body: (_) @body)
]) @function
(variable_declaration . (variable_declarator name: (identifier) @name value: [
  (function_expression !name body: (_) @body)
  (arrow_function body: (_) @body)
  (generator_function !name body: (_) @body)
]) .) @function
(lexical_declaration . (variable_declarator name: (identifier) @name value: [
  (function_expression !name body: (_) @body)
  (arrow_function body: (_) @body)
  (generator_function !name body: (_) @body)
]) .) @function
(export_statement declaration: (lexical_declaration . (variable_declarator name: (identifier) @name value: [
  (function_expression !name body: (_) @body)
  (arrow_function body: (_) @body)
  (generator_function !name body: (_) @body)
]) .)) @function
(expression_statement (assignment_expression
  left: [(identifier) @name (member_expression property: (_) @name)] right: [
  (function_expression !name body: (_) @body)
  (arrow_function body: (_) @body)
  (generator_function !name body: (_) @body)
])) @function
(variable_declarator name: (identifier) @name value: (class !name body: (_) @body)) @class
(lexical_declaration . (variable_declarator name: (identifier) @name value: (class !name body: (_) @body)) .) @class
(export_statement declaration: (lexical_declaration . (variable_declarator
  name: (identifier) @name value: (class !name body: (_) @body)) .)) @class
(expression_statement (assignment_expression
  left: (member_expression property: (_) @name) right: (class !name body: (_) @body))) @class

; `exports.name = name = function () {}`, `const name = exports.name = function () {}`
(expression_statement (assignment_expression right: (assignment_expression
  left: [(identifier) @name (member_expression property: (_) @name)]
  right: [(function_expression !name body: (_) @body) (arrow_function body: (_) @body)]))) @function
(variable_declaration . (variable_declarator name: (identifier) @name value: (assignment_expression
  right: [(function_expression !name body: (_) @body) (arrow_function body: (_) @body)])) .) @function
(lexical_declaration . (variable_declarator name: (identifier) @name value: (assignment_expression
  right: [(function_expression !name body: (_) @body) (arrow_function body: (_) @body)])) .) @function

(function_expression) @scope
(arrow_function) @scope
(generator_function) @scope
(method_definition) @scope
(class_static_block) @scope
(return_statement) @return
(comment) @comment
