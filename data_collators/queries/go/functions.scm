(function_declaration name: (identifier) @name body: (block) @body) @function
(method_declaration name: (field_identifier) @name body: (block) @body) @method

(short_var_declaration
  left: (expression_list . (identifier) @name .)
  right: (expression_list . (func_literal body: (block) @body) .)) @function
(var_spec name: (identifier) @name value: (expression_list . (func_literal body: (block) @body) .)) @function
(var_declaration
  (var_spec name: (identifier) @name value: (expression_list . (func_literal body: (block) @body) .))) @function
(assignment_statement
  left: (expression_list . [(identifier) @name (selector_expression field: (field_identifier) @name)] .)
  right: (expression_list . (func_literal body: (block) @body) .)) @function
(keyed_element
  key: (literal_element (identifier) @name)
  value: (literal_element (func_literal body: (block) @body))) @function

(type_spec name: (type_identifier) @name type: (struct_type (field_declaration_list) @body)) @class
(type_spec name: (type_identifier) @name type: (interface_type "{" @body "}" @body)) @class
; without parentheses around several types
(type_declaration
  "type" . (type_spec name: (type_identifier) @name type: (struct_type (field_declaration_list) @body))) @class
(type_declaration
  "type" . (type_spec name: (type_identifier) @name type: (interface_type "{" @body "}" @body))) @class

(func_literal) @scope
(return_statement) @return
(comment) @comment
