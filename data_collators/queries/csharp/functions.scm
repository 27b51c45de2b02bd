(method_declaration name: (identifier) @name body: (block) @body) @function
(constructor_declaration name: (identifier) @name body: (block) @body) @function
(destructor_declaration name: (identifier) @name body: (block) @body) @function
(local_function_statement name: (identifier) @name body: (block) @body) @function
(operator_declaration operator: _ @name body: (block) @body) @function
(conversion_operator_declaration type: (_) @name body: (block) @body) @function

(method_declaration name: (identifier) @name body: (arrow_expression_clause [(_) "this"] @body .)) @function
(constructor_declaration name: (identifier) @name body: (arrow_expression_clause [(_) "this"] @body .)) @function
(destructor_declaration name: (identifier) @name body: (arrow_expression_clause [(_) "this"] @body .)) @function
(local_function_statement name: (identifier) @name body: (arrow_expression_clause [(_) "this"] @body .)) @function
(operator_declaration operator: _ @name body: (arrow_expression_clause [(_) "this"] @body .)) @function
(conversion_operator_declaration type: (_) @name body: (arrow_expression_clause [(_) "this"] @body .)) @function

(class_declaration name: (identifier) @name body: (declaration_list) @body) @class
(struct_declaration name: (identifier) @name body: (declaration_list) @body) @class
(interface_declaration name: (identifier) @name body: (declaration_list) @body) @class
(record_declaration name: (identifier) @name body: (declaration_list) @body) @class
(enum_declaration name: (identifier) @name body: (enum_member_declaration_list) @body) @class

(accessor_declaration) @scope
(lambda_expression) @scope
(anonymous_method_expression) @scope
(return_statement) @return
(comment) @comment
