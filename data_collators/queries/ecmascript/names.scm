(identifier) @variable
(shorthand_property_identifier) @variable
(shorthand_property_identifier_pattern) @variable
(statement_identifier) @variable
(property_identifier) @attribute
(private_property_identifier) @attribute

(function_declaration name: (identifier) @function)
(generator_function_declaration name: (identifier) @function)
(function_expression name: (identifier) @function)
(generator_function name: (identifier) @function)
(method_definition name: [(property_identifier) (private_property_identifier)] @function)
(variable_declarator name: (identifier) @function
  value: [(arrow_function) (function_expression) (generator_function)])
(variable_declarator name: (identifier) @function
  value: (assignment_expression right: [(arrow_function) (function_expression) (generator_function)]))
(assignment_expression left: (identifier) @function
  right: [(arrow_function) (function_expression) (generator_function)])
(assignment_expression left: (member_expression property: (_) @function)
  right: [(arrow_function) (function_expression) (generator_function)])
(assignment_expression left: [(identifier) @function (member_expression property: (_) @function)]
  right: (assignment_expression right: [(arrow_function) (function_expression) (generator_function)]))
(pair key: (property_identifier) @function
  value: [(arrow_function) (function_expression) (generator_function)])

(variable_declarator name: (identifier) @class value: (class))
(assignment_expression left: (identifier) @class right: (class))
(assignment_expression left: (member_expression property: (_) @class) right: (class))
(pair key: (property_identifier) @class value: (class))

(arrow_function parameter: (identifier) @argument)

(call_expression function: (identifier) @call)
(call_expression function: (member_expression property: (_) @call))
(new_expression constructor: (identifier) @call)
(new_expression constructor: (member_expression property: (_) @call))

(import_clause (identifier) @import)
(namespace_import (identifier) @import)
(import_specifier (identifier) @import)
(import_attribute (object (pair key: (property_identifier) @keep)))
(namespace_export (identifier) @import)
(export_statement (export_clause) @imports source: (_))
(variable_declarator
  name: [(identifier) @import (object_pattern) @imports]
  value: [
    (call_expression function: (identifier) @_require arguments: (arguments . (string)))
    (member_expression
      object: (call_expression function: (identifier) @_require arguments: (arguments . (string))))
  ]
  (#eq? @_require "require"))
(variable_declarator
  name: [(identifier) @import (object_pattern) @imports]
  value: (await_expression (call_expression function: (import))))
(assignment_expression
  left: (identifier) @import
  right: (call_expression function: (identifier) @_require arguments: (arguments . (string)))
  (#eq? @_require "require"))
