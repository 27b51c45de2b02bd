; Those of ecmascript alone.
