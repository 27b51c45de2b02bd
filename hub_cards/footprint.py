"""What training cost, worked out from run records: hours, tokens, operations, and energy where a power is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .markdown import count, md, table

_TRAINING = {"stage1": "pre-training"}


@dataclass(frozen=True)
class Power:
    """Figures that no record holds, from whoever knows the machine.

    Args:
        watts: Mean power of all machines of a run together, while it trained.
        grams_per_kwh: Grams of CO2 equivalents for a kilowatt hour of that electricity.
        location: Where that was.

    Raises:
        ValueError: A figure is not positive.
    """

    watts: float
    grams_per_kwh: float | None = None
    location: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("watts", self.watts), ("grams_per_kwh", self.grams_per_kwh)):
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0, got {value}. Leave it out if it is not known.")


def flops(stage: dict[str, Any]) -> float | None:
    """6 N D for N parameters and D tokens (Kaplan et al. 2020, section 2.1); None if the record lacks one."""
    return 6.0 * stage["parameters"] * stage["tokens"] if stage.get("parameters") and stage.get("tokens") else None


def hours(stages: Sequence[dict[str, Any]]) -> float:
    """Wall time of all stages."""
    return sum(stage.get("wall_seconds") or 0 for stage in stages) / 3600


def energy_kwh(stages: Sequence[dict[str, Any]], power: Power) -> float:
    """Power times time."""
    return power.watts * hours(stages) / 1000


def emissions(stages: Sequence[dict[str, Any]], power: Power | None) -> dict[str, Any] | None:
    """The Hub's `co2_eq_emissions`, in grams; None if the power or the carbon of the electricity is not known."""
    if power is None or power.grams_per_kwh is None:
        return None
    kinds = {_TRAINING.get(str(stage["data"].get("kind")), "fine-tuning") for stage in stages}
    machines = dict.fromkeys(str(stage["machine"]) for stage in stages if stage.get("machine"))
    entry = {
        "emissions": float(f"{energy_kwh(stages, power) * power.grams_per_kwh:.3g}"),
        "source": f"estimate: {power.watts:g} W x wall time x {power.grams_per_kwh:g} g/kWh",
        "training_type": "pre-training" if "pre-training" in kinds else "fine-tuning",
        "geographical_location": power.location,
        "hardware_used": "; ".join(machines) or None,
    }
    return {key: value for key, value in entry.items() if value is not None}


def cost_words(stages: Sequence[dict[str, Any]], power: Power | None = None) -> str:
    """The section of a card; "" if no record says what a run took."""
    if not any(stage.get("wall_seconds") for stage in stages):
        return ""
    rows = []
    for stage in stages:
        operations = flops(stage)
        rows.append(
            [
                md(stage["name"]),
                md(stage.get("machine") or "not recorded"),
                count(stage["processes"]) if stage.get("processes") else "-",
                _hours(stage["wall_seconds"] / 3600) if stage.get("wall_seconds") else "-",
                count(stage["tokens"]) if stage.get("tokens") else "-",
                f"{operations:.1e}" if operations else "-",
            ]
        )
    parts = [
        table(["stage", "machine", "processes", "hours", "tokens", "FLOPs"], rows, text=2),
        "FLOPs are 6 × parameters × tokens, embeddings among the parameters: worked out, not measured.",
    ]
    if power is None:
        parts.append("No power was measured, so nothing is said of energy and emissions.")
    else:
        parts.append(_energy_words(stages, power))
    return "\n\n".join(parts)


def _energy_words(stages: Sequence[dict[str, Any]], power: Power) -> str:
    energy = energy_kwh(stages, power)
    words = (
        f"Energy, **an estimate**: {power.watts:g} W (given, not measured by coderep) × {_hours(hours(stages))} h = "
        f"{energy:.3g} kWh."
    )
    if power.grams_per_kwh is not None:
        where = f", {md(power.location)}" if power.location else ""
        words += f" At {power.grams_per_kwh:g} g CO2 a kWh{where}: {energy * power.grams_per_kwh:.3g} g, an estimate."
    return words


def _hours(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:.2g}"
