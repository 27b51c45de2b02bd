(name) @variable

(class_declaration name: (name) @class)
(interface_declaration name: (name) @class)
(trait_declaration name: (name) @class)
(enum_declaration name: (name) @class)

(function_definition name: (name) @function)
(method_declaration name: (name) @function)
(assignment_expression left: (variable_name (name) @function) right: [(anonymous_function) (arrow_function)])
(use_as_clause (name) @function .)

(simple_parameter name: (variable_name (name) @argument))
(variadic_parameter name: (variable_name (name) @argument))
(property_promotion_parameter name: (variable_name (name) @argument))

(function_call_expression function: [
  (name) @call
  (qualified_name (name) @call)
  (relative_name (name) @call)
  (variable_name (name) @call)
])
(member_call_expression name: [(name) @call (variable_name (name) @call)])
(nullsafe_member_call_expression name: [(name) @call (variable_name (name) @call)])
(scoped_call_expression name: [(name) @call (variable_name (name) @call)])
(object_creation_expression [
  (name) @call
  (qualified_name (name) @call)
  (relative_name (name) @call)
  (variable_name (name) @call)
])
(attribute [(name) @call (qualified_name (name) @call)])

(member_access_expression name: (name) @attribute)
(nullsafe_member_access_expression name: (name) @attribute)
(scoped_property_access_expression name: (variable_name (name) @attribute))
(class_constant_access_expression (_) (name) @attribute)
(property_element name: (variable_name (name) @attribute))
(declaration_list (const_declaration (const_element . (name) @attribute)))
(enum_declaration_list (const_declaration (const_element . (name) @attribute)))
(enum_case name: (name) @attribute)

(argument name: (name) @keep)
(namespace_name (name) @keep)
(property_hook . (name) @keep)
((class_constant_access_expression (_) (name) @keep) (#eq? @keep "class"))
((named_type (name) @keep) (#any-of? @keep "self" "static" "parent"))
((object_creation_expression (name) @keep) (#any-of? @keep "self" "static" "parent"))
((binary_expression right: (name) @keep) (#any-of? @keep "self" "static" "parent"))
(encapsed_string (subscript_expression (variable_name) (name) @keep))
(heredoc_body (subscript_expression (variable_name) (name) @keep))

; Functions of the language whose names are words of everyday.
((function_call_expression function: [(name) @keep (qualified_name . (name) @keep)])
  (#any-of? @keep
    "abs" "acos" "acosh" "asin" "asinh" "assert" "atan" "atanh" "basename" "ceil" "chop" "chr" "chroot" "constant"
    "copy" "cos" "cosh" "count" "crc32" "crypt" "current" "date" "die" "dir" "dirname" "each" "empty" "end" "exec" "exp"
    "extract" "file" "fileatime" "filectime" "filegroup" "fileinode" "filemtime" "fileowner" "fileperms" "filesize"
    "filetype" "flock" "floor" "flush" "glob" "hash" "header" "hypot" "iconv" "idate" "join" "key" "link" "list"
    "localtime" "log" "mail" "max" "md5" "microtime" "min" "mkdir" "next" "ord" "pack" "passthru" "pathinfo" "pi"
    "popen" "pos" "pow" "prev" "rand" "range" "realpath" "rename" "reset" "rewind" "rmdir" "round" "serialize" "sha1"
    "shuffle" "sin" "sinh" "sleep" "sort" "sqrt" "stat" "symlink" "syslog" "system" "tan" "tanh" "time" "touch" "trim"
    "umask" "unlink" "unpack" "unserialize"))

(namespace_use_clause [(name) @import (qualified_name (name) @import)])
