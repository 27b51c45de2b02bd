(abstract_class_declaration name: (_) @name body: (_) @body) @class
(interface_declaration name: (_) @name body: (_) @body) @class
(enum_declaration name: (_) @name body: (_) @body) @class
(type_alias_declaration name: (_) @name value: (object_type) @body) @class
(export_statement declaration: [
  (class_declaration name: (_) @name body: (_) @body)
  (abstract_class_declaration name: (_) @name body: (_) @body)
  (interface_declaration name: (_) @name body: (_) @body)
  (enum_declaration name: (_) @name body: (_) @body)
  (type_alias_declaration name: (_) @name value: (object_type) @body)
]) @class
(ambient_declaration [
  (class_declaration name: (_) @name body: (_) @body)
  (abstract_class_declaration name: (_) @name body: (_) @body)
  (interface_declaration name: (_) @name body: (_) @body)
  (enum_declaration name: (_) @name body: (_) @body)
]) @class
(export_statement declaration: (ambient_declaration [
  (class_declaration name: (_) @name body: (_) @body)
  (abstract_class_declaration name: (_) @name body: (_) @body)
  (interface_declaration name: (_) @name body: (_) @body)
  (enum_declaration name: (_) @name body: (_) @body)
])) @class
; Decorators stand beside the method that they belong to. Up to five, as any number of them would take quadratic time.
(class_body
  (decorator) @start . [(decorator) (comment)]? . [(decorator) (comment)]? . [(decorator) (comment)]? .
  [(decorator) (comment)]? . (method_definition name: [(property_identifier) (private_property_identifier)] @name body: (_) @body) @function)

(public_field_definition name: [(property_identifier) (private_property_identifier)] @name value: [
  (function_expression !name body: (_) @body)
  (arrow_function body: (_) @body)
]) @function
