(function_item name: (identifier) @name body: (block) @body) @function
(struct_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
(union_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
(enum_item name: (type_identifier) @name body: (enum_variant_list) @body) @class
(trait_item name: (type_identifier) @name body: (declaration_list) @body) @class
; closures bound to names
(let_declaration pattern: (identifier) @name value: (closure_expression body: (_) @body)) @function
(field_initializer field: (field_identifier) @name value: (closure_expression body: (_) @body)) @function

; Attributes stand before what they belong to, with doc comments between them. A repetition of any length would take
; quadratic time, so up to 5 nodes between them must do.
((attribute_item) @start
  . [
    (function_item name: (identifier) @name body: (block) @body) @function
    (struct_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (union_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (enum_item name: (type_identifier) @name body: (enum_variant_list) @body) @class
    (trait_item name: (type_identifier) @name body: (declaration_list) @body) @class
  ])
((attribute_item) @start
  . [(attribute_item) (line_comment) (block_comment)]
  . [
    (function_item name: (identifier) @name body: (block) @body) @function
    (struct_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (union_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (enum_item name: (type_identifier) @name body: (enum_variant_list) @body) @class
    (trait_item name: (type_identifier) @name body: (declaration_list) @body) @class
  ])
((attribute_item) @start
  . [(attribute_item) (line_comment) (block_comment)]
  . [(attribute_item) (line_comment) (block_comment)]
  . [
    (function_item name: (identifier) @name body: (block) @body) @function
    (struct_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (union_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (enum_item name: (type_identifier) @name body: (enum_variant_list) @body) @class
    (trait_item name: (type_identifier) @name body: (declaration_list) @body) @class
  ])
((attribute_item) @start
  . [(attribute_item) (line_comment) (block_comment)]
  . [(attribute_item) (line_comment) (block_comment)]
  . [(attribute_item) (line_comment) (block_comment)]
  . [
    (function_item name: (identifier) @name body: (block) @body) @function
    (struct_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (union_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (enum_item name: (type_identifier) @name body: (enum_variant_list) @body) @class
    (trait_item name: (type_identifier) @name body: (declaration_list) @body) @class
  ])
((attribute_item) @start
  . [(attribute_item) (line_comment) (block_comment)]
  . [(attribute_item) (line_comment) (block_comment)]
  . [(attribute_item) (line_comment) (block_comment)]
  . [(attribute_item) (line_comment) (block_comment)]
  . [
    (function_item name: (identifier) @name body: (block) @body) @function
    (struct_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (union_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (enum_item name: (type_identifier) @name body: (enum_variant_list) @body) @class
    (trait_item name: (type_identifier) @name body: (declaration_list) @body) @class
  ])
((attribute_item) @start
  . [(attribute_item) (line_comment) (block_comment)]
  . [(attribute_item) (line_comment) (block_comment)]
  . [(attribute_item) (line_comment) (block_comment)]
  . [(attribute_item) (line_comment) (block_comment)]
  . [(attribute_item) (line_comment) (block_comment)]
  . [
    (function_item name: (identifier) @name body: (block) @body) @function
    (struct_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (union_item name: (type_identifier) @name body: (field_declaration_list) @body) @class
    (enum_item name: (type_identifier) @name body: (enum_variant_list) @body) @class
    (trait_item name: (type_identifier) @name body: (declaration_list) @body) @class
  ])

(impl_item body: (declaration_list) @container)
(closure_expression) @scope
(async_block) @scope
(expression_statement (return_expression)) @return
(block (return_expression) @return)
(match_arm value: (return_expression) @return)
(line_comment) @comment
(block_comment) @comment
