(export_statement declaration: (class_declaration name: (_) @name body: (_) @body)) @class

(field_definition property: [(property_identifier) (private_property_identifier)] @name value: [
  (function_expression !name body: (_) @body)
  (arrow_function body: (_) @body)
]) @function
