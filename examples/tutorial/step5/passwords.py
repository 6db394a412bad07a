"""Passwords are stored as salted hashes.

Computing a hash takes about 50 ms, so that nobody can try many passwords.
"""

import hashlib
import hmac
import secrets


def hash_password(password, salt=None):
    salt = salt or secrets.token_bytes(16)
    return salt + hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def is_password(password, stored):
    return hmac.compare_digest(hash_password(password, stored[:16]), stored)
