"""How the longer measurements tell their figures: a line of JSON for each."""

import json


def say(measure: str, unit: str, figure: float) -> None:
    """Print one figure."""
    print(json.dumps({"measure": measure, "unit": unit, "figure": figure}), flush=True)
