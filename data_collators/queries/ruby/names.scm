[(identifier) (constant) (global_variable)] @variable
[(instance_variable) (class_variable)] @attribute

(class name: [(constant) @class (scope_resolution name: (constant) @class)])
(module name: [(constant) @class (scope_resolution name: (constant) @class)])
((assignment left: (constant) @class right: (call receiver: (constant) @_base method: (identifier) @_new))
  (#any-of? @_base "Class" "Data" "Module" "Struct") (#any-of? @_new "define" "new"))

(method name: [(identifier) @function (constant) @function (setter name: (_) @function)])
(singleton_method name: [(identifier) @function (constant) @function (setter name: (_) @function)])
(alias name: [(identifier) (simple_symbol)] @function alias: [(identifier) (simple_symbol)] @call)
(assignment left: (identifier) @function right: (lambda))
((assignment left: (identifier) @function right: (call method: (identifier) @_lambda block: (_)))
  (#any-of? @_lambda "lambda" "proc"))

(method_parameters [
  (identifier) @argument
  (splat_parameter name: (identifier) @argument)
  (hash_splat_parameter name: (identifier) @argument)
])
(lambda_parameters [
  (identifier) @argument
  (splat_parameter name: (identifier) @argument)
  (hash_splat_parameter name: (identifier) @argument)
])
(block_parameters [
  (identifier) @argument
  (splat_parameter name: (identifier) @argument)
  (hash_splat_parameter name: (identifier) @argument)
])
(destructured_parameter [(identifier) @argument (splat_parameter name: (identifier) @argument)])
(optional_parameter name: (identifier) @argument)
(keyword_parameter name: (identifier) @argument)
(block_parameter name: (identifier) @argument)

(call !receiver method: [(identifier) (constant)] @call)
(call method: [(identifier) (constant)] @call arguments: (argument_list))
(call method: [(identifier) (constant)] @call block: (_))
(call receiver: (_) method: [(identifier) (constant)] @attribute)
(block_argument (simple_symbol) @call)

; `f(name:)` and `in {name:}` read and write a local variable.
(pair key: (hash_key_symbol) @variable !value)
(keyword_pattern key: (hash_key_symbol) @variable !value)

; Symbols that name attributes and methods of the document.
((call !receiver method: (identifier) @_method arguments: (argument_list (simple_symbol) @attribute))
  (#any-of? @_method "attr" "attr_accessor" "attr_reader" "attr_writer"))
((call receiver: (constant) @_base arguments: (argument_list (simple_symbol) @attribute))
  (#any-of? @_base "Data" "Struct"))
((call !receiver method: (identifier) @_method arguments: (argument_list . (simple_symbol) @function))
  (#any-of? @_method "alias_method" "define_method" "define_singleton_method"))
((call !receiver method: (identifier) @_method arguments: (argument_list (simple_symbol) @call))
  (#any-of? @_method
    "alias_method" "method" "module_function" "private" "private_class_method" "private_constant" "protected" "public"
    "public_class_method" "remove_method" "respond_to?" "send" "undef_method"))
((call receiver: (_) method: (identifier) @_method arguments: (argument_list . (simple_symbol) @call))
  (#any-of? @_method
    "__send__" "instance_method" "method" "method_defined?" "public_method" "public_send" "respond_to?" "send"))

; Methods of the language whose names are words of everyday.
((call !receiver method: (identifier) @keep)
  (#any-of? @keep
    "abort" "attr" "binding" "caller" "catch" "exec" "exit" "extend" "fail" "fork" "format" "gem" "include" "load"
    "loop" "open" "p" "pp" "prepend" "print" "proc" "rand" "select" "sleep" "spawn" "system" "test" "throw" "trap"
    "using" "warn"))
