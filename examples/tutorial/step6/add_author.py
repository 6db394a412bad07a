"""python add_author.py NAME"""

import sys
from getpass import getpass

from database import Database

if __name__ == "__main__":
    database = Database("blog.db")
    database.create_tables()
    database.add_author(sys.argv[1], getpass())
