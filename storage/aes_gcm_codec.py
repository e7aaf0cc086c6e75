"""A codec that encrypts and authenticates with AES-256-GCM; needs ``pip install 'perdure[crypto]'``.

What it protects: who has the disk, or a copy of it, and no key, can read no values, and can neither change a record nor move
one to another place without that being noticed. What it does not: keys and sizes stay readable
(:mod:`perdure.storage.record_codec`); records can be deleted, and a record or a whole store can be put back to what it was
earlier, at the same place. Only another machine that remembers the last state protects from that. Hubs that share a key can
have records of the same place exchanged: give each hub a key of its own.

A stored record, with lengths in bytes::

    version (1), length of the key's name (1), the key's name, salt (16), nonce (12), ciphertext and tag (16 more than the value)

Everything before the nonce, the table and the record's key are authenticated with the value.

Why a salt: with GCM, one nonce used twice under one key gives both texts away and lets anybody forge. Random nonces of 96 bits
are safe for 2**32 records under one key (NIST SP 800-38D, 8.3), which a hub at full speed writes in less than a day; counted
nonces repeat when a virtual machine is set back to a snapshot, or when two copies of a store go on with one key. So the key that
encrypts is derived from the user's key and a random salt (HKDF-SHA256, RFC 5869), with a new salt for each codec object and
after each 2**24 records, and nonces are random beneath it. Within one salt the chance of a repetition is below 2**-49; over 2**40
records (a trillion) of one user's key it is below 2**-32, the bound of that publication: change the key before that. Salts and
nonces come from the system for each use, so a fork or a snapshot repeats none.

Keys have names, which are stored with each record. To change a key, add the new one and make it current: what is written from
then on uses it, and what the old one wrote stays readable as long as the old one is given.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Final

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError as error:  # pragma: no cover
    raise ImportError("AesGcmCodec needs the library cryptography: pip install 'perdure[crypto]'") from error

KEY_BYTES: Final = 32

_VERSION: Final = 1
_KEY_NAME_BYTES_MAX: Final = 64
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_RECORDS_PER_SALT: Final = 1 << 24
_DERIVED_MAX: Final = 1024
"""Derived keys that are kept; each is 32 bytes and some, and deriving one takes about 4 us."""


class AesGcmCodec:
    """Encrypts records with AES-256-GCM.

    Args:
      keys: 32 random bytes each (:meth:`generate_key`), by name. A name has 1 to 64 UTF-8 bytes, is stored readably with each
        record, and must always mean the same key.
      current: the name of the key to write with; may be left out if there is one.

    Raises:
      ValueError: a key or a name is not allowed, or ``current`` names none of them.

    Example:
      codec = AesGcmCodec({"2026": old_key, "2027": new_key}, current="2027")
    """

    name: str = "aes-gcm"

    def __init__(self, keys: Mapping[str, bytes], current: str | None = None) -> None:
        for name, key in keys.items():
            if not 0 < len(name.encode()) <= _KEY_NAME_BYTES_MAX:
                raise ValueError(f"the name of a key has 1 to {_KEY_NAME_BYTES_MAX} UTF-8 bytes: {name!r}")
            if len(key) != KEY_BYTES:
                raise ValueError(
                    f"a key has {KEY_BYTES} bytes, as AesGcmCodec.generate_key() makes them, not {len(key)} ({name!r})"
                )
        if current is None and len(keys) == 1:
            (current,) = keys
        if current is None or current not in keys:
            raise ValueError(f"current names the key to write with: one of {', '.join(map(repr, keys))}, not {current!r}")
        self._keys = dict(keys)
        self._current = current
        self._derived: dict[bytes, AESGCM] = {}
        self._left = 0
        self._head = b""

    def __repr__(self) -> str:
        return f"AesGcmCodec(keys named {', '.join(map(repr, self._keys))}, current={self._current!r})"

    @staticmethod
    def generate_key() -> bytes:
        """A new random key. Keep it where the store is not, and never lose it."""
        return secrets.token_bytes(KEY_BYTES)

    def encode(self, data: bytes, place: bytes) -> bytes:
        """What to store for a value: encrypted with the current key, and bound to its place."""
        if not self._left:
            name = self._current.encode()
            self._head = bytes((_VERSION, len(name))) + name + os.urandom(_SALT_BYTES)
            self._left = _RECORDS_PER_SALT
        self._left -= 1
        head, nonce = self._head, os.urandom(_NONCE_BYTES)
        return head + nonce + self._cipher(head).encrypt(nonce, data, head + place)

    def decode(self, data: bytes, place: bytes) -> bytes:
        """The value of what :meth:`encode` made at the same place.

        Raises:
          ValueError: its key is not known, or it was changed or moved.
        """
        head = self._head_of(data)
        nonce = data[len(head) : len(head) + _NONCE_BYTES]
        try:
            return self._cipher(head).decrypt(nonce, data[len(head) + _NONCE_BYTES :], head + place)
        except InvalidTag:
            raise ValueError("it was changed, moved to another place, or made with another key of the same name") from None

    def _head_of(self, data: bytes) -> bytes:
        if len(data) < 2 or data[0] != _VERSION:
            raise ValueError("it does not begin as a record of this codec does")
        head = data[: 2 + data[1] + _SALT_BYTES]
        if len(data) < len(head) + _NONCE_BYTES + _TAG_BYTES:
            raise ValueError("it is cut off")
        return head

    def _cipher(self, head: bytes) -> AESGCM:
        found = self._derived.get(head)
        if found is None:
            if len(self._derived) >= _DERIVED_MAX:
                self._derived.clear()
            found = self._derived[head] = AESGCM(self._derive(head))
        return found

    def _derive(self, head: bytes) -> bytes:
        name, salt = head[2:-_SALT_BYTES].decode("utf-8", "replace"), head[-_SALT_BYTES:]
        key = self._keys.get(name)
        if key is None:
            raise ValueError(f"its key {name!r} is not known; known are {', '.join(map(repr, self._keys))}")
        return HKDF(SHA256(), KEY_BYTES, salt, b"perdure aes-gcm 1").derive(key)
