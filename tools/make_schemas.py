"""Make the published JSON Schemas again from the types: `python tools/make_schemas.py`."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
from pathlib import Path
from typing import Any

import msgspec

from cannery.audits.findings import Audit, Finding, Reached
from cannery.sweeps import Audited

SCHEMAS = Path(__file__).parents[1] / "docs" / "schemas"


def audit_schema() -> dict[str, Any]:
    """Return the schema of what `cannery audit --json` prints."""
    schema = msgspec.json.schema(tuple[Audited, ...])
    for name, owners in {
        "Audited": (Audit, Audited),
        "Finding": (Finding,),
        "Reached": (Reached,),
    }.items():
        fields = schema["$defs"][name]["properties"]
        for owner in owners:
            for field, text in descriptions(owner).items():
                fields[field]["description"] = text
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cannery audit --json",
        "description": "One audit for each model, in the order in which they were named or found.",
        **schema,
    }


def descriptions(owner: type) -> dict[str, str]:
    """Return what stands beneath each field of a class."""
    (node,) = ast.parse(inspect.getsource(owner)).body
    body = node.body if isinstance(node, ast.ClassDef) else []
    found = {}
    for field, after in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
            found[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(after.value))
    return found


def main() -> None:
    """Write every schema anew."""
    text = json.dumps(audit_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    SCHEMAS.mkdir(exist_ok=True)
    SCHEMAS.joinpath("audit.schema.json").write_text(text)


if __name__ == "__main__":
    main()
