"""Checks each line of a file by a JSON Schema, with the jsonschema package."""
import json, sys
from jsonschema import Draft202012Validator

schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
count = 0
for number, line in enumerate(open(sys.argv[2]), 1):
    for error in validator.iter_errors(json.loads(line)):
        sys.exit(f"line {number}: {error.message}: {line}")
    count += 1
print(f"{count} valid")
