"""Tortoise finds its models in a module."""

from tortoise import fields
from tortoise.models import Model


class Pie(Model):
    id = fields.IntField(primary_key=True)
    name = fields.TextField()
