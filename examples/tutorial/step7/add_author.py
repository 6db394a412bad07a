"""python add_author.py NAME"""

import os
import sys
from getpass import getpass
from pathlib import Path

from database import Database

if __name__ == "__main__":
    database = Database(Path(os.environ.get("BLOG_DATA", ".")) / "blog.db")
    database.create_tables()
    database.add_author(sys.argv[1], getpass())
