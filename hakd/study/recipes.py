"""Which students a method gets. Read by the rules at planning time: no heavy imports."""

from collections.abc import Mapping
from typing import Any

from hakd.records.errors import HakdError

LOSSES: Mapping[str, tuple[str, ...]] = {  # with the keys of `students` that each depends on
    "ce": (),
    "logits": ("alpha", "temperature"),
    "at": ("attention_scale",),
    "at+logits": ("alpha", "temperature", "attention_scale"),
    "logits-std": (),
}
OF_PRUNING = ("tuned", "scratch_b")  # recipes that depend on a pruning: on its weights, or on what it cost
PLAIN = ("scratch", "scratch_b")  # trained with `ce` alone
_COMPRESSED = ("tuned", "distilled", "scratch")
CODED = {f"{recipe}_coded": recipe for recipe in _COMPRESSED}  # students of these, by Deep Compression
TERNARY = {f"{recipe}_ternary": recipe for recipe in _COMPRESSED}  # with ternary weights
TRAINED_AS = CODED | TERNARY  # compressed students, and the recipe of the student that each is made from
_DISTILLED = {"distilled", *(name for name, recipe in TRAINED_AS.items() if recipe == "distilled")}


def recipe_losses(students: Mapping[str, Any], method: str) -> list[tuple[str, str]]:
    """(recipe, loss) of each student of a method, each once.

    `tuned` is trained with each of `students.losses`, `distilled` with each but `ce`, `scratch` and `scratch_b` with
    `ce`; `tuned/logits` is that loss alone. Those of `TRAINED_AS` take the losses of the students that they compress.
    """
    found = []
    for entry in students["recipes"][method]:
        recipe, _, loss = entry.partition("/")
        trained = TRAINED_AS.get(recipe, recipe)
        losses = [loss] if loss else ["ce"] if trained in PLAIN else students["losses"]
        found += [(recipe, one) for one in losses if trained != "distilled" or one != "ce"]
    return list(dict.fromkeys(found))


def check_recipes(config: Mapping[str, Any], where: str) -> None:
    """Refuse what the schema lets pass.

    Raises:
        HakdError: `tuned` without fine-tuning among the losses, which it once was whatever these were; a recipe that
            the losses leave without students.
    """
    students = config.get("students", {})
    losses = students.get("losses", [])
    fleets = ["joint"] if config["run"].get("fleets") else []  # trained as `joint` is
    for method in dict.fromkeys([*config["run"].get("methods", ()), *fleets]):
        recipes, key = students.get("recipes", {}).get(method, ()), f"students.recipes.{method}"
        if "tuned" in recipes and "ce" not in losses:
            spelled = ", ".join(f"tuned/{loss}" for loss in losses)
            raise HakdError(
                "`tuned` is trained with each of students.losses, and `ce` (fine-tuning) is not among them",
                where=where,
                key=key,
                remedy=f"Add `ce` to students.losses, or write {spelled} here",
            )
        for name in sorted(_DISTILLED & {*recipes}) if set(losses) <= {"ce"} else ():
            raise HakdError(
                f"`{name}` needs a loss with a teacher, and students.losses has none",
                where=where,
                key=key,
                remedy=f"Add `logits` to students.losses, or write `{name.replace('distilled', 'scratch')}` here",
            )
