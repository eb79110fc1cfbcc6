"""A small writer of dtar's formats for the tests, from the pages alone.

It shares no code with the reader: HPKE is the library's, bech32m and all numbers are written here.
Callables named in `over` change a part before it is checked or sealed, so that each rule can be broken.
"""

import hashlib
import struct
from collections import defaultdict

import blake3
import xxhash
import zstandard
from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

MASTER, STORE_ID, SALT, BRICK_KEY = b"m" * 32, b"store id 16 byte", b"salt of 16 bytes", b"k" * 32
EPOCH = 3
BECH = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def same(x):
    return x


def uv(n: int) -> bytes:
    out = b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def prefix(magic: bytes, major=1, compatible=0, incompatible=0) -> bytes:
    return magic + struct.pack("<HHI", major, compatible, incompatible)


def field(tag: int, value: bytes) -> bytes:
    return bytes([tag]) + uv(len(value)) + value


def checked(data: bytes) -> bytes:
    return data + blake3.blake3(data).digest()[:16]


def kdf(context: str, data: bytes) -> bytes:
    return blake3.blake3(data, derive_key_context=f"dtar 2026-11 {context} v1").digest()


def put_secret(epoch=EPOCH) -> bytes:
    return kdf("put secret", MASTER + STORE_ID + struct.pack("<I", epoch))


def siv_and_key(kind: str, name: str, secret: bytes, number: bytes, opened: bytes) -> tuple[bytes, bytes]:
    siv = blake3.blake3(number + opened, key=kdf(f"{kind} siv key", secret)).digest()[:16]
    return siv, kdf(name, secret + number + siv)


def seal(key: bytes, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(nonce, plain, associated)


def key_pair(master=MASTER):
    expanded = hashlib.shake_256(kdf("x-wing seed", master)).digest(96)
    m, x = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])
    raw = m.public_key().public_bytes_raw() + x.public_key().public_bytes_raw()
    return raw, hpke.MLKEM768X25519PublicKey(m.public_key(), x.public_key())


def bech32m(part: str, data: bytes, constant=0x2BC830A3) -> str:
    bits = "".join(f"{b:08b}" for b in data)
    bits += "0" * (-len(bits) % 5)
    digits = [int(bits[i : i + 5], 2) for i in range(0, len(bits), 5)]
    checksum = 1
    for v in [ord(c) >> 5 for c in part] + [0] + [ord(c) & 31 for c in part] + digits + [0] * 6:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ v
        for i, g in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            if top >> i & 1:
                checksum ^= g
    checksum ^= constant
    digits += [checksum >> 5 * (5 - i) & 31 for i in range(6)]
    return part + "1" + "".join(BECH[d] for d in digits)


def locked(inside=1, secret=MASTER, passphrase=b"open", function=1, memory=8, passes=1, lanes=1) -> str:
    salt = b"s" * 32
    clear = prefix(b"dtarLOCK") + struct.pack("<BBHIII", function, inside, 0, memory, passes, lanes) + salt
    key = hash_secret_raw(passphrase, salt, 1, 8, 1, 32, Type.ID, 0x13)
    return bech32m("dtar-locked-key-", clear + seal(key, bytes(12), secret, clear)).upper()


def recipient(master=MASTER, ids=(0x647A, 1, 3), brick_key=BRICK_KEY, encap=same, wrapped=same) -> bytes:
    raw, public = key_pair(master)
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
    both = suite.encrypt(brick_key, public, b"dtar 2026-11 brick key v1" + STORE_ID + SALT)
    e, w = encap(both[:1120]), wrapped(both[1120:])
    return blake3.blake3(raw).digest()[:16] + struct.pack("<HHHHH", *ids, len(e), len(w)) + e + w


def frame(chunks, number=0, codec=1, padding=5, recipients=None, **over) -> bytes:
    """over: lengths, plain, content, opened, siv_of, clear, fields, whole (callables on bytes or lists)."""
    table = b"".join(map(uv, over.get("lengths", same)([len(c) for c in chunks])))
    plain = over.get("plain", same)(b"".join(chunks) + table)
    content = zstandard.compress(plain) if codec == 1 else plain
    content = over.get("content", same)(content)
    opened = struct.pack("<IIII", len(content), len(plain), len(chunks), len(table)) + content + bytes(padding)
    opened = over.get("opened", same)(opened)
    recipients = [recipient()] if recipients is None else recipients
    tail = b"".join(recipients) + over.get("fields", b"")
    clear = prefix(b"dtarFRAM") + struct.pack("<II", 88 + len(tail) + 16, len(opened) + 16)
    clear += STORE_ID + SALT + struct.pack("<IIBBBBI", number, EPOCH, 0, codec, 1, len(recipients), 0)
    secret, le = BRICK_KEY + STORE_ID + SALT, struct.pack("<I", number)
    siv, key = siv_and_key("frame", "frame key", secret, le, over.get("siv_of", same)(opened))
    header = checked(over.get("clear", same)(clear + siv + tail))
    nonce = le + bytes(8)
    return over.get("whole", same)(header + seal(key, nonce, opened, header))


def plain_len(chunks) -> int:
    return sum(len(c) + len(uv(len(c))) for c in chunks)


def toc(frames, chunk_lists, **over) -> bytes:
    opened = struct.pack("<IIB3x", len(frames), sum(map(len, chunk_lists)), 0) + b"w" * 16
    for data, chunks in zip(frames, chunk_lists, strict=True):
        opened += uv(len(data)) + uv(plain_len(chunks)) + uv(len(chunks))
        opened += b"".join(b"i" * 16 + uv(len(c)) for c in chunks)
    opened = over.get("toc_opened", same)(opened)
    clear = prefix(b"dtarTOC1") + struct.pack("<II", len(opened) + 16, EPOCH) + STORE_ID + SALT
    secret = kdf("toc key", put_secret()) + SALT
    siv, key = siv_and_key("toc", "brick toc key", secret, b"", over.get("toc_siv_of", same)(opened))
    clear = checked(over.get("toc_clear", same)(clear + siv))
    return clear + seal(key, bytes(12), opened, clear)


def brick(frames, chunk_lists, **over) -> bytes:
    """over: header, toc_opened, toc_siv_of, toc_clear, footer."""
    header = prefix(b"dtarBRIK") + STORE_ID + SALT + struct.pack("<IB11x", EPOCH, 0)
    body = checked(over.get("header", same)(header)) + b"".join(frames)
    table = toc(frames, chunk_lists, **over)
    total = len(body) + len(table) + 64
    footer = prefix(b"dtarFOOT") + struct.pack("<QQQQ", len(body), len(table), total, 0)
    return body + table + checked(over.get("footer", same)(footer))


def sidecar(table: bytes, name: bytes) -> bytes:
    return table + blake3.blake3(name + table, key=kdf("sidecar key", put_secret())).digest()


class Items:
    """Encodes a tree of items: ("whole", data), ("chunk", data), ("zeros", n), ("list", level, tree, over),
    ("raw", bytes, body). Collects body, counts, and the chunks of each level in the order of use."""

    def __init__(self, tree, uses):
        self.data, self.body, self.counts, self.n = b"", b"", defaultdict(int), len(tree)
        for kind, *rest in tree:
            getattr(self, kind)(uses, *rest)

    def _use(self, uses, level, data):
        uses[level].append(data)
        self.counts[level] += 1

    def whole(self, uses, data):
        self._use(uses, 0, data)
        self.data, self.body = self.data + b"\0", self.body + data

    def chunk(self, uses, data):
        self._use(uses, 0, data)
        self.data += b"\1" + uv(len(data)) + blake3.blake3(data).digest()
        self.body += data

    def zeros(self, _uses, n):
        self.data, self.body = self.data + b"\3" + uv(n), self.body + bytes(n)

    def list(self, uses, level, tree, over=None):
        over = over or {}
        inner = Items(tree, uses)
        data = over.get("data", same)(inner.data)
        self._use(uses, level, data)
        for below, n in inner.counts.items():
            self.counts[below] += n
        counts = over.get("below", same)([inner.counts[i] for i in range(level)])
        covers = over.get("covers", same)(len(inner.body))
        self.data += b"\2" + bytes([level]) + uv(len(data)) + blake3.blake3(data).digest() + uv(covers)
        self.data, self.body = self.data + b"".join(map(uv, counts)), self.body + inner.body

    def raw(self, _uses, data, body):
        self.data, self.body = self.data + data, self.body + body


def record(tree, uses, kind=0, size_form=0, checksum_form=0, fields=b"", **over):
    """The record and its body; over: body_len, digest, n, length."""
    items = Items(tree, uses)
    rest = bytes([kind, size_form, checksum_form, 0]) + uv(over.get("body_len", same)(len(items.body)))
    rest += over.get("digest", same)(blake3.blake3(items.body).digest())
    rest += uv(over.get("n", same)(items.n)) + items.data + fields
    head = over.get("prefix", prefix(b"dtarBODY"))
    return head + struct.pack("<I", over.get("length", same)(20 + len(rest))) + rest, items.body


class Archive:
    """Members part, RECS, steps and stream, step by step; then bricks and index."""

    def __init__(self):
        self.members, self.recs, self.steps, self.stream = b"", b"", [], b""
        self.uses, self.count = defaultdict(list), 0

    def step(self, place, run, tree, true_run=None, padding=None, marker=None, **how):
        data, body = record(tree, self.uses, **how)
        self.members += run
        if place == 0:
            self.members += data + bytes(-len(data) % 512)
        else:
            self.recs += data
        if place == 2:
            self.members += marker or prefix(b"dtarOPAQ") + b"\xff" * 496
        kind = how.get("kind", 0)
        if padding is None:
            padding = bytes(-len(body) % 512) if kind == 0 else b""
        self.stream += (run if true_run is None else true_run) + body + padding
        self.steps.append(len(run) // 512 * 4 + place)
        self.count += kind == 0
        return self

    def tail(self, tree=(), run=b"", **how):
        return self.step(1, run, tree, **{"kind": 2, **how})

    def bricks(self, split=3, **over):
        """File contents by name; frames of `split` chunks, two frames a brick; remembers the places."""
        chunks = list(dict.fromkeys(c for level in sorted(self.uses) for c in self.uses[level]))
        groups = [chunks[i : i + split] for i in range(0, len(chunks), split)]
        self.place = {c: (i, j) for i, g in enumerate(groups) for j, c in enumerate(g)}
        out, self.brik = {}, []
        for at in range(0, len(groups), 2):
            lists = groups[at : at + 2]
            frames = [frame(g, number=i, codec=1 - i % 2, **over) for i, g in enumerate(lists)]
            data = brick(frames, lists)
            name = blake3.blake3(data).digest()
            out[f"{name.hex()}.brick"] = data
            used = [(i, 0, len(f), plain_len(g)) for i, (f, g) in enumerate(zip(frames, lists, strict=True))]
            self.brik.append((name, len(data), used))
        return out

    def hint(self, level, page=4) -> bytes:
        out, uses, before = bytes([level]) + uv(len(self.uses[level])), self.uses[level], 0
        for at in range(0, len(uses), page):
            runs, last = b"", 0
            for chunk in uses[at : at + page]:
                ordinal, place = self.place[chunk]
                delta, last = ordinal - last, ordinal
                runs += uv(delta * 2 if delta >= 0 else -delta * 2 - 1) + uv(place) + uv(1)
            held = len(uses[at : at + page])
            out += struct.pack("<IIQ", len(runs), held, before) + runs
            before += held
        return out

    def sections(self, **over):
        summ = STORE_ID + blake3.blake3(key_pair(MASTER)[0]).digest()[:16] + struct.pack("<II", EPOCH, 0) + struct.pack("<Q", len(self.stream))
        summ += xxhash.xxh3_128(self.stream).intdigest().to_bytes(16, "little")
        summ += struct.pack("<QQ", len(self.members), self.count)
        brik = uv(len(self.brik))
        for name, size, used in self.brik:
            brik += name + uv(size) + uv(len(used))
            last = -1
            for number, gap, length, plain in used:
                brik += uv(number - last - 1) + uv(gap) + uv(length) + uv(plain)
                last = number
        maps = b"".join(uv(v) + uv(1) for v in self.steps)
        out = [(b"SUMM", summ), (b"RECS", self.recs), (b"MAPS", maps), (b"BRIK", brik)]
        out += [(b"HINT", self.hint(level)) for level in sorted(self.uses) if self.uses[level]]
        out = [(name, 1, over.get(name.decode().lower(), same)(p)) for name, p in out]
        return over.get("sections", same)([*out, (b"DONE", 1, b"")])

    def index(self, **over) -> bytes:
        """over: summ, recs, maps, brik, hint, sections, gap, trailer, pad, seal, end, index."""
        front = self.members + over.get("gap", bytes(1024))
        trailer = over.get("trailer", same)(prefix(b"dtarTRLR") + struct.pack("<Q", len(front)))
        for name, flags, payload in self.sections(**over):
            trailer += name + struct.pack("<IQ", flags, len(payload)) + payload
        pad = bytes(-(len(front) + len(trailer) + 96) % 512)
        body = front + trailer + over.get("pad", same)(pad)
        key = kdf("index key", put_secret())
        length = len(body) + 96
        end = prefix(b"dtarIEND") + struct.pack("<QQQQ", len(front), length - 64 - len(front), length, 0)
        end = checked(over.get("end", same)(end))
        seal = over.get("seal", same)(blake3.blake3(body + end, key=key).digest())
        return over.get("index", same)(body + seal + end)
