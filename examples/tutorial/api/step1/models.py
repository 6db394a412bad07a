from dataclasses import dataclass


@dataclass
class NewRecipe:
    name: str
    minutes: int = 30


@dataclass(kw_only=True)
class Recipe(NewRecipe):
    id: int
