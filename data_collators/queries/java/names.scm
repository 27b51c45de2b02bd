[(identifier) (type_identifier)] @variable

(class_declaration name: (identifier) @class)
(interface_declaration name: (identifier) @class)
(enum_declaration name: (identifier) @class)
(record_declaration name: (identifier) @class)
(annotation_type_declaration name: (identifier) @class)

(method_declaration name: (identifier) @function)
(constructor_declaration name: (identifier) @function)
(compact_constructor_declaration name: (identifier) @function)
(annotation_type_element_declaration name: (identifier) @function)

(formal_parameter name: (identifier) @argument)
(spread_parameter (variable_declarator name: (identifier) @argument))
(lambda_expression parameters: (identifier) @argument)
(inferred_parameters (identifier) @argument)

(method_invocation name: (identifier) @call)
(object_creation_expression type: (type_identifier) @call)
(object_creation_expression type: (generic_type (type_identifier) @call))
(object_creation_expression type: (scoped_type_identifier (type_identifier) @call .))
(object_creation_expression type: (generic_type (scoped_type_identifier (type_identifier) @call .)))

(field_access field: (identifier) @attribute)
(field_declaration declarator: (variable_declarator name: (identifier) @attribute))
(constant_declaration declarator: (variable_declarator name: (identifier) @attribute))
(enum_constant name: (identifier) @attribute)
(method_reference "::" (identifier) @attribute)

(element_value_pair key: (identifier) @keep)

; The last part of an import is a name that the document uses, unless it is a package: `b` in `import a.b.*;`.
(import_declaration (scoped_identifier name: (identifier) @import) . ";")
(import_declaration "static" (scoped_identifier name: (identifier) @import))
(import_declaration (identifier) @keep)
((import_declaration (scoped_identifier name: (identifier) @keep) (asterisk)) @import.all
  (#not-match? @import.all "^import\\s+static"))
(scoped_identifier scope: (identifier) @keep)
(scoped_identifier scope: (scoped_identifier name: (identifier) @keep))
(package_declaration [(identifier) @keep (scoped_identifier name: (identifier) @keep)])
(module_declaration name: [(identifier) @keep (scoped_identifier name: (identifier) @keep)])
(module_body (_ [(identifier) @keep (scoped_identifier name: (identifier) @keep)]))

; A type with its package in front is as good as imported: `new java.util.Random()`.
((scoped_type_identifier (type_identifier) @keep) (#match? @keep "^[a-z]"))
((scoped_type_identifier (scoped_type_identifier (type_identifier) @package .) (type_identifier) @keep)
  (#match? @package "^[a-z]"))
