(variable_name (name) @local)

(global_declaration (variable_name (name) @free))
(function_static_declaration (static_variable_declaration name: (variable_name (name) @local)))
