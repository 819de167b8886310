"""An explanation as text for people."""

from __future__ import annotations

from cannery.conversions.explain import Explanation
from cannery.errors import harmless

_TOLD = {
    "equal": "answers as the original does",
    "differs": "differs",
    "fails": "can't hold it",
}


def explanation_text(found: Explanation) -> str:
    """Return what each runtime makes of the model, the steps in the way, and what to do about them."""
    lines = [f"model    {found.model} ({found.type})"]
    for trial in found.trials:
        lines.append(f"{trial.runtime:8} {_TOLD[trial.outcome]}: {trial.reason}")
    for obstacle in found.obstacles:
        lines.append(f"step     {obstacle.step} ({obstacle.type}): {obstacle.reason}")
        if obstacle.hint:
            lines.append(f"         {obstacle.hint}")
    taken = next((t.runtime for t in found.trials if t.outcome == "equal"), None)
    lines.append(f"so       pack takes {taken}" if taken else "so       pack refuses it")
    return "\n".join(harmless(line) for line in lines)
