(type_identifier) @variable

(public_field_definition name: [(property_identifier) (private_property_identifier)] @function
  value: [(arrow_function) (function_expression) (generator_function)])

(class_declaration name: (type_identifier) @class)
(class name: (type_identifier) @class)
(abstract_class_declaration name: (type_identifier) @class)
(interface_declaration name: (type_identifier) @class)
(type_alias_declaration name: (type_identifier) @class)
(enum_declaration name: (identifier) @class)
(function_signature name: (identifier) @function)
(method_signature name: (property_identifier) @function)
(abstract_method_signature name: (property_identifier) @function)
(tuple_type (_ name: [(identifier) @attribute (rest_pattern (identifier) @attribute)]))

(formal_parameters (_ pattern: [
  (identifier) @argument
  (rest_pattern (identifier) @argument)
  (object_pattern [
    (shorthand_property_identifier_pattern) @argument
    (object_assignment_pattern left: (shorthand_property_identifier_pattern) @argument)
    (rest_pattern (identifier) @argument)
    (pair_pattern value: [
      (identifier) @argument
      (assignment_pattern left: [
        (identifier) @argument
        (object_pattern [
          (shorthand_property_identifier_pattern) @argument
          (object_assignment_pattern left: (shorthand_property_identifier_pattern) @argument)
          (rest_pattern (identifier) @argument)
          (pair_pattern value: [
            (identifier) @argument
            (assignment_pattern left: (identifier) @argument)
          ])
        ])
        (array_pattern [
          (identifier) @argument
          (rest_pattern (identifier) @argument)
          (assignment_pattern left: (identifier) @argument)
        ])
      ])
      (object_pattern [
        (shorthand_property_identifier_pattern) @argument
        (object_assignment_pattern left: (shorthand_property_identifier_pattern) @argument)
        (rest_pattern (identifier) @argument)
        (pair_pattern value: [
          (identifier) @argument
          (assignment_pattern left: (identifier) @argument)
        ])
      ])
      (array_pattern [
        (identifier) @argument
        (rest_pattern (identifier) @argument)
        (assignment_pattern left: (identifier) @argument)
      ])
    ])
  ])
  (array_pattern [
    (identifier) @argument
    (rest_pattern (identifier) @argument)
    (assignment_pattern left: (identifier) @argument)
    (object_pattern [
      (shorthand_property_identifier_pattern) @argument
      (object_assignment_pattern left: (shorthand_property_identifier_pattern) @argument)
      (rest_pattern (identifier) @argument)
      (pair_pattern value: [
        (identifier) @argument
        (assignment_pattern left: (identifier) @argument)
      ])
    ])
    (array_pattern [
      (identifier) @argument
      (rest_pattern (identifier) @argument)
      (assignment_pattern left: (identifier) @argument)
    ])
  ])
]))

(call_expression function: (non_null_expression (identifier) @call))
(call_expression function: (non_null_expression (member_expression property: (_) @call)))
; `await f<T>(x)` reads as a call of `await f`.
(call_expression function: (await_expression (identifier) @call))
(call_expression function: (await_expression (member_expression property: (_) @call)))

(import_require_clause (identifier) @import)
(import_alias (identifier) @import)
(import_alias (nested_identifier [(identifier) (property_identifier)] @import))
(internal_module name: (identifier) @import)
(internal_module name: (nested_identifier [(identifier) (property_identifier)] @import))
(module name: (identifier) @import)
(module name: (nested_identifier [(identifier) (property_identifier)] @import))

; JSX, without the names of its nodes, which one of the two grammars does not have: attributes of elements are like
; keyword arguments of calls; the elements of HTML are no names of the document.
(_ . "<" (_ . (property_identifier) @keep))
(_ . (identifier) @keep . ":" . (identifier) @keep .)
(_ . "<" . (identifier) @keep (#match? @keep "^[a-z]"))
(_ (identifier) @keep . ">" . (#match? @keep "^[a-z]"))
