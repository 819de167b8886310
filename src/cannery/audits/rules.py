"""The rules of the audit: why each matters, and what to do when a file breaks it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Rules that guard against one thing."""

    title: str
    why: str
    remedy: str
    rules: tuple[str, ...]


_REFUSE = "Don't open the file. Find out where it is from, and take the model from its maker again."
_FETCH = "Fetch or export the file again, and name the model file itself."

FAMILIES = (
    Family(
        title="A name that no table lists",
        why="Opening the file would import it, and maybe call it. What it does is not known here.",
        remedy="Read what it does. If you trust it, run `cannery trust NAME --reason TEXT`.",
        rules=("loader-module", "method", "unknown-file", "unknown-name", "wrong-role"),
    ),
    Family(
        title="A name that can run commands or code",
        why="It is known from attacks: opening the file would start what its author wanted.",
        remedy=_REFUSE,
        rules=("carried-pickle", "dangerous-name"),
    ),
    Family(
        title="A name that is hidden",
        why="Names that are computed or looked up inside others get around a list of names.",
        remedy=_REFUSE,
        rules=("computed-callable", "computed-name", "dotted-name"),
    ),
    Family(
        title="Arguments that honest files do not have",
        why="A listed function or class does more than compute when it is called in this way.",
        remedy=_REFUSE,
        rules=("argument-rule", "odd-arguments", "unknown-loader"),
    ),
    Family(
        title="A state that honest files do not have",
        why="What an object is filled with can replace its methods or be executed by it.",
        remedy=_REFUSE,
        rules=(
            "dunder-state", "foreign-items", "foreign-state", "hostile-state", "late-state",
            "method-override", "odd-state",
        ),
    ),
    Family(
        title="A program that no pickler writes",
        why="Such constructs exist to make scanners and the real unpickler read different things.",
        remedy=_REFUSE,
        rules=(
            "ambiguous-text", "duplicate-key", "forbidden-opcode", "id-reuse", "leftover-stack",
            "memo-gap", "memo-overwrite", "nested-frame", "odd-frame", "odd-node", "protocol-mismatch",
            "straddled-frame", "stray-pop", "stray-proto",
        ),
    ),
    Family(
        title="Bytes that only some readers see",
        why="Two readers of the file would differ on what it holds: one is shown to the scanner.",
        remedy=_REFUSE,
        rules=(
            "disagreeing-member", "disguised-file", "duplicate-member", "escaping-member",
            "escaping-path", "format-disagrees", "hidden-bytes", "odd-member", "stray-member",
            "trailing-bytes",
        ),
    ),
    Family(
        title="Names that differ in case alone",
        why="Two files become one where such names are not told apart: which one depends on the machine.",
        remedy="Take the model without the one that is not meant.",
        rules=("twin-names",),
    ),
    Family(
        title="Code that travels along",
        why="It would be put on the import path, or run, where the model is loaded.",
        remedy="Log the model without code, or move the code to a package and review that.",
        rules=("code",),
    ),
    Family(
        title="More than a machine can hold",
        why="The file would take memory or time without end where it is opened.",
        remedy=_REFUSE,
        rules=(
            "bomb", "exhausted", "loop", "slow-graph", "tensor-bomb", "too-many-findings",
            "unbounded-size",
        ),
    ),
    Family(
        title="Numbers that native code would follow out of bounds",
        why="Shapes, sizes and indices are used as they are by code that does not check them.",
        remedy=_REFUSE,
        rules=("hostile-array", "hostile-native", "hostile-tensor", "hostile-trees"),
    ),
    Family(
        title="Numbers that no rule here can judge",
        why="Compiled code follows them, and their form is not known here.",
        remedy="Use it if you trust its maker: run `cannery trust NAME --reason TEXT`.",
        rules=("unchecked-native",),
    ),
    Family(
        title="A regular expression that may take for ever",
        why="A text that it almost matches is tried in ever more ways: one row could hang the model.",
        remedy="Train with a pattern whose repetitions can't take the same characters.",
        rules=("slow-pattern",),
    ),
    Family(
        title="A graph that reads other files",
        why="Opening it by its path reads other files, whichever it names, into the model.",
        remedy="Write it as one file: onnx.save(onnx.load(OLD), NEW). Or keep its data beside it, as NAME.onnx.data.",
        rules=("external-data",),
    ),
    Family(
        title="A graph with more than listed operators",
        why="It nests graphs, or has operators whose effect is not known here.",
        remedy="Export the model again as one plain graph of standard operators.",
        rules=(
            "broken-graph", "functions", "nested-graph", "sparse-tensor",
            "training", "unknown-domain", "unknown-operator", "unknown-version",
        ),
    ),
    Family(
        title="No model that can be read",
        why="The file is cut, damaged or no model: what opening it would do can't be told.",
        remedy=_FETCH,
        rules=(
            "bad-text", "broken-array", "broken-booster", "broken-container", "broken-mlmodel",
            "broken-onnx", "broken-skops", "empty", "empty-stack", "negative-size", "no-decompressor", "no-mark",
            "no-memo", "no-model", "odd-items", "too-deep", "too-long", "truncated",
            "unknown-container", "unknown-format", "unknown-opcode", "unknown-protocol",
            "unreadable",
        ),
    ),
)  # fmt: skip

OTHER = Family(
    title="A rule of the audit",
    why="The file has something that honest files do not have.",
    remedy=_REFUSE,
    rules=(),
)
"""What is said of a rule that stands in no family."""

RULES: dict[str, Family] = {rule: family for family in FAMILIES for rule in family.rules}
"""Every rule that a finding may name."""
