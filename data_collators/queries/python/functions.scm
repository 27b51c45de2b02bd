(function_definition name: (identifier) @name body: (block) @body) @function
(class_definition name: (identifier) @name body: (block) @body) @class
(decorated_definition
  definition: (function_definition name: (identifier) @name body: (block) @body)) @function
(decorated_definition
  definition: (class_definition name: (identifier) @name body: (block) @body)) @class

(block . (comment)* . (expression_statement . (string) .) @docstring)

(lambda) @scope
(return_statement) @return
(comment) @comment
