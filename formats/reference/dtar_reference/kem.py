"""X-Wing and HPKE, written out: ../../keys.md#encapsulation.

X-Wing: draft-connolly-cfrg-xwing-kem-06. HPKE: RFC 9180, base mode, with
KEM 0x647a, KDF 0x0001 (HKDF-SHA256) and AEAD 0x0003 (ChaCha20-Poly1305).
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEM_ID, KDF_ID, AEAD_ID = 0x647A, 0x0001, 0x0003
ENCAPSULATION_LEN, PUBLIC_KEY_LEN = 1120, 1216
_SUITE = b"HPKE" + KEM_ID.to_bytes(2, "big") + KDF_ID.to_bytes(2, "big") + AEAD_ID.to_bytes(2, "big")
_LABEL = bytes.fromhex("5c2e2f2f5e5c")


def open_aead(key: bytes, nonce: bytes, sealed, associated) -> bytes | None:
    """The opened bytes, or None where the tag does not verify."""
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, bytes(sealed), bytes(associated))
    except InvalidTag:
        return None


class XWingKey:
    """A decapsulation key, expanded from its 32-byte seed."""

    def __init__(self, seed: bytes):
        expanded = hashlib.shake_256(seed).digest(96)
        self.ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self.x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.x_public = self.x25519.public_key().public_bytes_raw()
        self.public = self.ml_kem.public_key().public_bytes_raw() + self.x_public

    def decapsulate(self, encapsulation: bytes) -> bytes:
        ct_m, ct_x = encapsulation[:1088], encapsulation[1088:]
        ss_m = self.ml_kem.decapsulate(ct_m)
        ss_x = _x25519(self.x25519, ct_x)
        return hashlib.sha3_256(ss_m + ss_x + ct_x + self.x_public + _LABEL).digest()


def _x25519(secret: X25519PrivateKey, public: bytes) -> bytes:
    """X25519; X-Wing takes an all-zero result as it is, the library refuses it."""
    try:
        return secret.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return bytes(32)


def _extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
    message = b"HPKE-v1" + _SUITE + label + ikm
    return hmac.digest(salt or bytes(32), message, "sha256")


def _expand(secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    info = length.to_bytes(2, "big") + b"HPKE-v1" + _SUITE + label + info
    block, out = b"", b""
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:length]


def hpke_open(key: XWingKey, info: bytes, encapsulation: bytes, wrapped: bytes) -> bytes | None:
    """Single-shot base mode with empty aad; None where the tag does not verify."""
    shared = key.decapsulate(encapsulation)
    context = b"\0" + _extract(b"", b"psk_id_hash", b"") + _extract(b"", b"info_hash", info)
    secret = _extract(shared, b"secret", b"")
    aead_key = _expand(secret, b"key", context, 32)
    nonce = _expand(secret, b"base_nonce", context, 12)
    return open_aead(aead_key, nonce, wrapped, b"")
