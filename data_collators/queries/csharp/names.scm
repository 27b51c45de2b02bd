[(identifier) (implicit_parameter)] @variable

(class_declaration name: (identifier) @class)
(struct_declaration name: (identifier) @class)
(interface_declaration name: (identifier) @class)
(enum_declaration name: (identifier) @class)
(record_declaration name: (identifier) @class)
(delegate_declaration name: (identifier) @class)

(method_declaration name: (identifier) @function)
(constructor_declaration name: (identifier) @function)
(destructor_declaration name: (identifier) @function)
(local_function_statement name: (identifier) @function)

(parameter name: (identifier) @argument)
(parameter_list name: (identifier) @argument)
(bracketed_parameter_list name: (identifier) @argument)
(implicit_parameter) @argument

(invocation_expression function: [
  (identifier) @call
  (generic_name (identifier) @call)
  (member_access_expression name: [(identifier) @call (generic_name (identifier) @call)])
  (conditional_access_expression
    (member_binding_expression name: [(identifier) @call (generic_name (identifier) @call)]))
])
(object_creation_expression type: [
  (identifier) @call
  (generic_name (identifier) @call)
  (qualified_name name: [(identifier) @call (generic_name (identifier) @call)])
])

(member_access_expression name: [(identifier) @attribute (generic_name (identifier) @attribute)])
(member_binding_expression name: [(identifier) @attribute (generic_name (identifier) @attribute)])
(property_declaration name: (identifier) @attribute)
(event_declaration name: (identifier) @attribute)
(field_declaration (variable_declaration (variable_declarator name: (identifier) @attribute)))
(event_field_declaration (variable_declaration (variable_declarator name: (identifier) @attribute)))
(enum_member_declaration name: (identifier) @attribute)
(initializer_expression (assignment_expression left: (identifier) @attribute))
(with_initializer . (identifier) @attribute)
(anonymous_object_creation_expression (identifier) @attribute . "=")
(subpattern . (identifier) @attribute)
(tuple_element name: (identifier) @attribute)
(tuple_expression (argument name: (identifier) @attribute))

(argument_list (argument name: (identifier) @keep))
(bracketed_argument_list (argument name: (identifier) @keep))
(attribute_argument name: (identifier) @keep)

; An alias, its type and the class of `using static` are names that a document uses; parts of namespaces are not.
(using_directive name: (identifier) @import)
(using_directive "static" [(identifier) @import (qualified_name name: (identifier) @import)])
((using_directive [
  (identifier) @keep
  (generic_name (identifier) @keep)
  (qualified_name name: [(identifier) @keep (generic_name (identifier) @keep)])
]) @using (#not-match? @using "static|="))
(using_directive "=" [
  (identifier) @import
  (generic_name (identifier) @import)
  (qualified_name name: [(identifier) @import (generic_name (identifier) @import)])
])
(using_directive (qualified_name qualifier: (identifier) @keep))
(extern_alias_directive name: (identifier) @import)
(namespace_declaration name: [(identifier) @keep (qualified_name (identifier) @keep)])
(file_scoped_namespace_declaration name: [(identifier) @keep (qualified_name (identifier) @keep)])
(qualified_name qualifier: (qualified_name (identifier) @keep))
(alias_qualified_name alias: (identifier) @keep)

; Symbols of conditional compilation.
(preproc_if condition: [
  (identifier) @keep
  (_ (identifier) @keep)
  (_ (_ (identifier) @keep))
  (_ (_ (_ (identifier) @keep)))
])
(preproc_elif condition: [
  (identifier) @keep
  (_ (identifier) @keep)
  (_ (_ (identifier) @keep))
  (_ (_ (_ (identifier) @keep)))
])
