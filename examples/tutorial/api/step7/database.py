from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker

sessions = sessionmaker()  # make_app() sets the database


class Base(DeclarativeBase):
    pass


class UserRow(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[bytes]


class TokenRow(Base):
    __tablename__ = "tokens"
    hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    expires: Mapped[datetime]


class RecipeRow(Base):
    __tablename__ = "recipes"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    minutes: Mapped[int]
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    author: Mapped[UserRow] = relationship(lazy="joined")
    ingredients: Mapped[list["IngredientRow"]] = relationship(
        lazy="selectin", order_by="IngredientRow.id", cascade="all, delete-orphan"
    )


class IngredientRow(Base):
    __tablename__ = "ingredients"
    id: Mapped[int] = mapped_column(primary_key=True)
    recipe_id: Mapped[int] = mapped_column(ForeignKey("recipes.id"))
    name: Mapped[str]
    grams: Mapped[int]
