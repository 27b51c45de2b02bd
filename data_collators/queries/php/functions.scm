(function_definition name: (name) @name body: (compound_statement) @body) @function
(method_declaration name: (name) @name body: (compound_statement) @body) @function
(class_declaration name: (name) @name body: (declaration_list) @body) @class
(interface_declaration name: (name) @name body: (declaration_list) @body) @class
(trait_declaration name: (name) @name body: (declaration_list) @body) @class
(enum_declaration name: (name) @name body: (enum_declaration_list) @body) @class

(expression_statement (assignment_expression
  left: (variable_name (name) @name)
  right: (anonymous_function body: (compound_statement) @body))) @function
(expression_statement (assignment_expression
  left: (variable_name (name) @name)
  right: (arrow_function body: (_) @body))) @function

(anonymous_class) @container
(anonymous_function) @scope
(arrow_function) @scope
(property_hook) @scope
(return_statement) @return
(comment) @comment
