#!/usr/bin/env bash
# Expected: the OData filter contains(name,'50%') finds the names that contain "50%", and `name ne
# 'PIE_1'` finds an article without a name, too, because null isn't equal to a text (OData 4.01 URL
# Conventions, sections 5.1.1.5.2 and 5.1.1.1.2).
# Seen: with SQLAlchemy, odata-query also finds "500 g" for contains(name,'50%') and "PIE-1" for
# startswith(name,'PIE_'), because it doesn't escape % and _, the wildcards of SQL's LIKE. `ne` and
# `not` with `eq` never find an article without a name. Neither an exception nor a warning follows.
# It matters for article numbers and file names, which often have a _, and for programs that delete
# or export what a filter finds: the list has rows that nobody asked for, or it lacks some.
# odata-query 0.10.0, SQLAlchemy 2.1.9;
# https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html;
# https://github.com/gorilla-co/odata-query/blob/master/odata_query/sqlalchemy/common.py
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'odata-query==0.10.0' 'SQLAlchemy==2.1.9'
python --version
pip freeze

cat >program.py <<'EOF'
import logging
import sys

import sqlalchemy
from odata_query.sqlalchemy import apply_odata_query
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

NAMES = ["50% off", "500 g", "PIE_1", "PIE-1", None]
FILTERS = {  # what OData finds, and what is found
    "contains(name,'50%')": (["50% off"], ["50% off", "500 g"]),
    "startswith(name,'PIE_')": (["PIE_1"], ["PIE_1", "PIE-1"]),
    "name ne 'PIE_1'": (["50% off", "500 g", "PIE-1", None], ["50% off", "500 g", "PIE-1"]),
    "not (name eq 'PIE_1')": (["50% off", "500 g", "PIE-1", None], ["50% off", "500 g", "PIE-1"]),
    "name eq null": ([None], [None]),
}
logging.disable()  # hints about types


class Base(DeclarativeBase):
    pass


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]


engine = sqlalchemy.create_engine("sqlite://")
Base.metadata.create_all(engine)
seen = {}
with Session(engine) as session:
    session.add_all(Article(id=number, name=name) for number, name in enumerate(NAMES))
    session.commit()
    for text, (expected, _) in FILTERS.items():
        query = apply_odata_query(sqlalchemy.select(Article).order_by(Article.id), text)
        seen[text] = [article.name for article in session.scalars(query)]
        print(f"{text}\n  OData: {expected}\n  odata-query: {seen[text]}")
if seen != {text: found for text, (_, found) in FILTERS.items()}:
    sys.exit("The behaviour has changed.")
EOF
python program.py
