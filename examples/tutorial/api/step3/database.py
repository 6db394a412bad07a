from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker

sessions = sessionmaker()  # make_app() sets the database


class Base(DeclarativeBase):
    pass


class RecipeRow(Base):
    __tablename__ = "recipes"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    minutes: Mapped[int]
    ingredients: Mapped[list["IngredientRow"]] = relationship(
        lazy="selectin", order_by="IngredientRow.id"
    )


class IngredientRow(Base):
    __tablename__ = "ingredients"
    id: Mapped[int] = mapped_column(primary_key=True)
    recipe_id: Mapped[int] = mapped_column(ForeignKey("recipes.id"))
    name: Mapped[str]
    grams: Mapped[int]
