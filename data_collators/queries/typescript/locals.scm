; A type may have the name of a variable.
(type_identifier) @type
