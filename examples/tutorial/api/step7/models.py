from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Minutes = Annotated[int, Meta(ge=1, le=1440)]


@dataclass
class Ingredient:
    name: Name
    grams: Annotated[int, Meta(ge=1, le=10_000)]


@dataclass
class NewRecipe:
    name: Name
    ingredients: Annotated[list[Ingredient], Meta(min_length=1, max_length=50)]
    minutes: Minutes = 30


@dataclass
class User:
    name: str


@dataclass(kw_only=True)
class Recipe(NewRecipe):
    id: int
    author: User


@dataclass
class NewUser:
    name: Name
    password: Annotated[str, Meta(min_length=8, max_length=200)]


@dataclass
class Token:
    token: str
