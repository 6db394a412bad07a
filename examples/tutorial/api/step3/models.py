from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Name = Annotated[str, Meta(min_length=1, max_length=100)]


@dataclass
class Ingredient:
    name: Name
    grams: Annotated[int, Meta(ge=1, le=10_000)]


@dataclass
class NewRecipe:
    name: Name
    ingredients: Annotated[list[Ingredient], Meta(min_length=1, max_length=50)]
    minutes: Annotated[int, Meta(ge=1, le=1440)] = 30


@dataclass(kw_only=True)
class Recipe(NewRecipe):
    id: int
