"""Key files and derivations: ../../keys.md."""

import os
import stat

import argon2.low_level
import blake3

from .kem import XWingKey, open_aead
from .wire import FormatError, Reader, blake3_256

KEY_FILE_MAX = 16 * 1024
PUT_KEY_LEN = 148
WHOLE_CLEAR_LEN, WHOLE_SEALED_MAX = 96, 2**30
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M = 0x2BC830A3


def kdf(context: str, *parts: bytes) -> bytes:
    return blake3.blake3(b"".join(parts), derive_key_context=f"dtar 2026-11 {context} v1").digest()


def open_sealed(kind: str, name: str, secret: tuple, number: bytes, siv: bytes, sealed: bytes, header: bytes):
    """The content, if its tag verifies and its SIV is the one in the header; None otherwise.

    `secret` is what both keys follow from, `number` that of a frame, or no bytes."""
    key = kdf(name, *secret, number, siv)
    opened = open_aead(key, number + bytes(12 - len(number)), sealed, header)
    if opened is None:
        return None
    siv_key = kdf(f"{kind} siv key", *secret)
    return opened if blake3.blake3(number + opened, key=siv_key).digest()[:16] == siv else None


def open_whole(data: bytes, what: str, key) -> tuple[bytes, Reader]:
    """Store id and content of a file that is sealed as a whole: `what` is a root or a note."""
    r = Reader(data, what)
    r.prefix(f"dtar{what.upper()}".encode())
    sealed_len, epoch = r.u64(), r.u32()
    r.take(4)
    store_id, salt, siv = r.take(16), r.take(16), r.take(16)
    r.check(0)
    r.is_epoch(epoch)
    r.between(sealed_len, 16, WHOLE_SEALED_MAX, "sealed length")
    sealed = r.take(sealed_len)
    if r.left():
        r.fail(f"bytes behind the {what}")
    secret = (kdf(f"{what} key", key.put_secret(store_id, epoch)), salt)
    opened = open_sealed(what, f"one {what} key", secret, b"", siv, sealed, data[:WHOLE_CLEAR_LEN])
    if opened is None:
        raise FormatError(f"{what}: seal does not verify: damaged, or made with another key")
    return store_id, Reader(opened, what)


class MasterKey:
    """The master secret and what follows from it."""

    def __init__(self, master: bytes):
        self.master = master
        self.kem = XWingKey(kdf("x-wing seed", master))
        self.key_id = blake3_256(self.kem.public)[:16]

    def put_secret(self, store_id: bytes, epoch: int) -> bytes:
        return kdf("put secret", self.master, store_id, epoch.to_bytes(4, "little"))

    @property
    def gear_key(self) -> bytes:
        """For writers: a reader cuts nothing."""
        return kdf("gear key", self.master)


class PutKey:
    """Serves one store and epoch, and opens no frame."""

    kem = None

    def __init__(self, data: bytes):
        r = Reader(data, "put key")
        self.store_id, self.epoch = r.take(16), r.is_epoch(r.u32())
        self.secret, self.gear_key = r.take(32), r.take(32)
        self.public_hash, self.recipients_hash = r.take(32), r.take(32)
        self.key_id = self.public_hash[:16]

    def put_secret(self, store_id: bytes, epoch: int) -> bytes:
        if store_id != self.store_id:
            raise FormatError(f"put key of store {self.store_id.hex()}, but store {store_id.hex()} is in use")
        if epoch != self.epoch:
            raise FormatError(f"put key of epoch {self.epoch}, but epoch {epoch} is needed")
        return self.secret


def _polymod(values) -> int:
    chk = 1
    for value in values:
        top = chk >> 25
        chk = (chk & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            chk ^= generator if top >> i & 1 else 0
    return chk


def bech32m_decode(text: str) -> tuple[str, bytes]:
    """Human-readable part (lower case) and data."""
    if text != text.lower() and text != text.upper():
        raise FormatError("key: upper and lower case are mixed")
    text = text.lower()
    part, separator, rest = text.rpartition("1")
    if not separator or not part or len(rest) < 6 or not set(rest) <= set(_CHARSET):
        raise FormatError("key: not a bech32m string")
    if any(not 33 <= ord(c) <= 126 for c in part):
        raise FormatError("key: not a bech32m string")
    digits = [_CHARSET.index(c) for c in rest]
    expanded = [ord(c) >> 5 for c in part] + [0] + [ord(c) & 31 for c in part]
    if _polymod(expanded + digits) != _BECH32M:
        raise FormatError("key: bad checksum")
    digits = digits[:-6]
    spare = len(digits) * 5 % 8
    number = 0
    for digit in digits:
        number = number << 5 | digit
    if spare >= 5 or number & ((1 << spare) - 1):
        raise FormatError("key: bad padding bits")
    return part, (number >> spare).to_bytes(len(digits) * 5 // 8, "big")


def _make(kind: str, data: bytes):
    name, length, make = {
        "master": ("secret key", 32, MasterKey),
        "put": ("put key", PUT_KEY_LEN, PutKey),
    }[kind]
    if len(data) != length:
        raise FormatError(f"{name}: wrong length, {len(data)} instead of {length} bytes")
    return make(data)


def _unlock(data: bytes, passphrase: bytes | None):
    r = Reader(data, "locked key")
    r.prefix(b"dtarLOCK")
    function, inside = r.u8(), r.u8()
    if function != 1:
        raise FormatError(f"locked key: unknown KDF {function}")
    if inside not in (1, 2):
        raise FormatError(f"locked key: unknown content {inside}")
    r.take(2)
    memory = r.between(r.u32(), 8, 4_194_304, "memory")
    passes = r.between(r.u32(), 1, 64, "passes")
    lanes = r.between(r.u32(), 1, 16, "lanes")
    if memory < 8 * lanes:
        r.fail("memory is less than 8 times the lanes")
    salt = r.take(32)
    if r.left() != (32 if inside == 1 else PUT_KEY_LEN) + 16:
        r.fail("wrong length")
    if passphrase is None:
        raise FormatError("locked key: a passphrase is needed (DTAR_PASSPHRASE)")
    key = argon2.low_level.hash_secret_raw(
        passphrase, salt, passes, memory, lanes, 32, argon2.low_level.Type.ID, 0x13
    )
    opened = open_aead(key, bytes(12), r.take(r.left()), data[:64])
    if opened is None:
        raise FormatError("locked key: wrong passphrase (or a damaged key)")
    return _make("master" if inside == 1 else "put", opened)


def parse_key(text: bytes, passphrase: bytes | None = None):
    """A MasterKey or PutKey; public keys are refused, since they restore nothing."""
    if len(text) > KEY_FILE_MAX:
        raise FormatError("key file: longer than 16 KiB")
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    lines = [line for line in lines if line and not line.startswith(b"#")]
    if len(lines) != 1:
        raise FormatError(f"key file: {len(lines)} key lines instead of one")
    try:
        part, data = bech32m_decode(lines[0].decode("ascii"))
    except UnicodeDecodeError as e:
        raise FormatError("key: not a bech32m string") from e
    match part:
        case "dtar-secret-key-":
            return _make("master", data)
        case "dtar-put-key-":
            return _make("put", data)
        case "dtar-locked-key-":
            return _unlock(data, passphrase)
        case "dtar-public-key-":
            raise FormatError("key file: a public key; a secret key is needed")
    raise FormatError(f"key file: unknown kind of key {part!r}")


def load_key(path: str, passphrase: bytes | None = None):
    with open(path, "rb") as f:
        mode = os.fstat(f.fileno()).st_mode
        text = f.read(KEY_FILE_MAX + 1)
    secret = b"dtar-public-key-1" not in text.lower()
    if secret and stat.S_ISREG(mode) and mode & 0o077:
        raise FormatError(f"{path}: mode {mode & 0o777:04o} lets others at a secret; chmod 600 it")
    return parse_key(text, passphrase)
