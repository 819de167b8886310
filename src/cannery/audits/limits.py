"""How much of a hostile file the audit is willing to look at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one audit; what exceeds one is a finding, never a hang."""

    opcodes: int = 20_000_000
    """Pickle opcodes, over all nested programs."""
    memo: int = 10_000_000
    """Entries of a memo."""
    depth: int = 2_000
    """Open marks, nested schema nodes."""
    text: int = 1 << 28
    """Bytes of one string, and of `schema.json`."""
    kept: int = 1 << 14
    """Bytes of a literal that are kept for looking at; of longer ones only the size is known."""
    integer: int = 1 << 10
    """Bytes of one integer; its digits must stay few enough for Python to print them."""
    decompressed: int = 1 << 33
    """Bytes that a compressed file may become."""
    memory: int = 1 << 26
    """Bytes that are held in memory; what is larger goes to a temporary file."""
    names: int = 20_000
    """Different globals, over all nested programs."""
    members: int = 20_000
    """Members of an archive."""
    findings: int = 200
    """Findings that are reported; the verdict counts all."""
    graph: int = 1 << 31
    """Bytes of an ONNX file."""
    elements: int = 1 << 24
    """Elements that one row, or a constant, may make of a tensor."""
    multiplications: int = 1 << 36
    """Multiplications that a graph may take for one row: about ten seconds of one core."""
