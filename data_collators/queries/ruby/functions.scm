(method name: (_) @name body: (_) @body) @function
(singleton_method name: (_) @name body: (_) @body) @method
(class name: (_) @name body: (body_statement) @body) @class
(module name: (_) @name body: (body_statement) @body) @class

; `private def name`
(call !receiver arguments: (argument_list . (method name: (_) @name body: (_) @body) .)) @function
(call !receiver arguments: (argument_list . (singleton_method name: (_) @name body: (_) @body) .)) @method

((assignment
  left: (constant) @name
  right: (call
    receiver: (constant) @_base
    method: (identifier) @_new
    block: [(do_block body: (_) @body) (block body: (_) @body)])) @class
  (#any-of? @_base "Class" "Data" "Module" "Struct") (#any-of? @_new "define" "new"))

(assignment
  left: (identifier) @name
  right: (lambda body: [(do_block body: (_) @body) (block body: (_) @body)])) @function
((assignment
  left: (identifier) @name
  right: (call
    method: (identifier) @_lambda
    block: [(do_block body: (_) @body) (block body: (_) @body)])) @function
  (#any-of? @_lambda "lambda" "proc"))

(singleton_class) @container
(lambda) @scope
((call method: (identifier) @_method block: (_)) @scope
  (#any-of? @_method "define_method" "define_singleton_method" "lambda"))

(return) @return
; `return name if done` is one statement.
(if_modifier body: (return)) @return
(unless_modifier body: (return)) @return
(comment) @comment
