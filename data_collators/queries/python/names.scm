(identifier) @variable

(class_definition name: (identifier) @class)
(function_definition name: (identifier) @function)

(parameters (identifier) @argument)
(lambda_parameters (identifier) @argument)
(typed_parameter (identifier) @argument)
(default_parameter name: (identifier) @argument)
(typed_default_parameter name: (identifier) @argument)
(parameters (list_splat_pattern (identifier) @argument))
(parameters (dictionary_splat_pattern (identifier) @argument))
(lambda_parameters (list_splat_pattern (identifier) @argument))
(lambda_parameters (dictionary_splat_pattern (identifier) @argument))
(typed_parameter (list_splat_pattern (identifier) @argument))
(typed_parameter (dictionary_splat_pattern (identifier) @argument))

(call function: (identifier) @call)
(call function: (attribute attribute: (identifier) @call))
(attribute attribute: (identifier) @attribute)

(keyword_argument name: (identifier) @keep)

(import_statement (dotted_name (identifier) @import))
(import_statement (aliased_import (dotted_name (identifier) @import)))
(import_from_statement (dotted_name (identifier) @import))
(import_from_statement (relative_import (dotted_name (identifier) @import)))
(import_from_statement (aliased_import (dotted_name (identifier) @import)))
(aliased_import alias: (identifier) @import)
