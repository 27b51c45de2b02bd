(declaration
  declarator: [
    (identifier) @local
    (init_declarator declarator: [
      (identifier) @local
      (pointer_declarator declarator: [(identifier) @local (_ declarator: (identifier) @local)])
      (array_declarator declarator: [(identifier) @local (_ declarator: (identifier) @local)])
    ])
    (pointer_declarator declarator: [
      (identifier) @local
      (pointer_declarator declarator: (identifier) @local)
      (array_declarator declarator: (identifier) @local)
    ])
    (array_declarator declarator: [(identifier) @local (array_declarator declarator: (identifier) @local)])
  ])

; Those of the linker are no locals.
(declaration (storage_class_specifier "extern") declarator: (identifier) @free)

; A type may have the name of a variable.
(type_identifier) @type
