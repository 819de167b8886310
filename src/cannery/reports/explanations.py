"""An explanation as text for people."""

from __future__ import annotations

from cannery.conversions.explain import Explanation, Trial
from cannery.conversions.parity import furthest
from cannery.errors import harmless

_REFUSED = "can't hold it, for what stands below"


def explanation_text(found: Explanation) -> str:
    """Return what each runtime makes of the model, the steps in the way, and what to do about them."""
    lines = [f"model    {found.model} ({found.type})"]
    for trial in found.trials:
        held = not (trial.runtime == "onnx" and found.obstacles)
        lines.append(f"{trial.runtime:8} {_outcome(trial) if held else _REFUSED}")
        if trial.worst is not None:
            lines.append(f"         furthest off is {furthest(trial.worst)}")
        if trial.hint and held:
            lines.append(f"         {trial.hint}")
    for obstacle in found.obstacles:
        lines.append(f"step     {obstacle.step} ({obstacle.type}): {obstacle.reason}")
        if obstacle.hint:
            lines.append(f"         {obstacle.hint}")
    taken = next((t.runtime for t in found.trials if t.outcome == "equal"), None)
    lines.append(f"so       pack takes {taken}" if taken else "so       pack refuses it")
    return "\n".join(harmless(line) for line in lines)


def _outcome(trial: Trial) -> str:
    return (
        f"answers as the original does: {trial.reason}"
        if trial.outcome == "equal"
        else trial.reason
    )
