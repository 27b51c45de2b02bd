(field_definition property: [(property_identifier) (private_property_identifier)] @function
  value: [(arrow_function) (function_expression) (generator_function)])

(class_declaration name: (identifier) @class)
(class name: (identifier) @class)

(formal_parameters [
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
  (assignment_pattern left: [
    (identifier) @argument
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
  ])
])

; Attributes of elements are like keyword arguments of calls; the elements of HTML are no names of the document.
(jsx_attribute (property_identifier) @keep)
(jsx_namespace_name (identifier) @keep)
(jsx_opening_element name: (identifier) @keep (#match? @keep "^[a-z]"))
(jsx_closing_element name: (identifier) @keep (#match? @keep "^[a-z]"))
(jsx_self_closing_element name: (identifier) @keep (#match? @keep "^[a-z]"))
