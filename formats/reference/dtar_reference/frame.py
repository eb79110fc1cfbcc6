"""Frames: ../../frame.md."""

import zstandard

from .kem import AEAD_ID, ENCAPSULATION_LEN, KDF_ID, KEM_ID, hpke_open
from .keys import open_sealed
from .wire import FormatError, Reader

HEADER_MIN, HEADER_MAX = 130, 65_536
SEALED_MIN, SEALED_MAX = 32, 68_157_440
PLAIN_MAX = 67_108_864
CHUNKS_MAX = 65_536
CHUNK_MAX = 1_048_576
WINDOW_MAX = 2**27
_SLICE = 1024  # of compressed input; bounds what one step of zstd can yield


class FrameHeader:
    """A header whose check is good and whose numbers are within limits."""

    def __init__(self, data, what: str):
        r = Reader(data, what)
        r.prefix(b"dtarFRAM")
        self.header_len = r.between(r.u32(), HEADER_MIN, HEADER_MAX, "header length")
        if self.header_len > r.end:
            r.fail("header ends early")
        at_end = Reader(data, what, self.header_len - 16)
        at_end.check(0)
        r.end = self.header_len - 16
        self.sealed_len = r.between(r.u32(), SEALED_MIN, SEALED_MAX, "sealed length")
        self.store_id, self.salt = r.take(16), r.take(16)
        self.number, self.epoch = r.u32(), r.is_epoch(r.u32())
        self.class_, self.codec, seal, recipients = r.u8(), r.u8(), r.u8(), r.u8()
        for name, value, known in (
            ("class", self.class_, (0, 1)), ("codec", self.codec, (0, 1)), ("seal", seal, (1,)),
        ):
            if value not in known:
                raise FormatError(f"{what}: unknown {name} {value}")
        r.between(recipients, 1, 32, "number of recipients")
        r.take(4)
        self.siv = r.take(16)
        self.recipients = [self._recipient(r) for _ in range(recipients)]
        r.fields({})
        self.bytes = bytes(r.view[: self.header_len])
        self.what = what

    @staticmethod
    def _recipient(r: Reader):
        key_id, ids = r.take(16), (r.u16(), r.u16(), r.u16())
        n, m = r.u16(), r.u16()
        return key_id, ids, r.take(n), r.take(m)

    def __len__(self):
        return self.header_len + self.sealed_len

    def brick_key(self, key) -> bytes:
        for key_id, ids, encapsulation, wrapped in self.recipients:
            if key_id != key.key_id or ids != (KEM_ID, KDF_ID, AEAD_ID):
                continue
            if len(encapsulation) != ENCAPSULATION_LEN or len(wrapped) != 48:
                continue
            info = b"dtar 2026-11 brick key v1" + self.store_id + self.salt
            opened = hpke_open(key.kem, info, encapsulation, wrapped)
            if opened is None:
                raise FormatError(f"{self.what}: wrapped key does not verify: damaged or forged")
            return opened
        found = ", ".join(r[0].hex() for r in self.recipients)
        raise FormatError(f"{self.what}: not sealed to this key (sealed to {found})")


def _decompress(content: bytes, plain_len: int, what: str) -> bytes:
    if content[:4] != b"\x28\xb5\x2f\xfd":
        raise FormatError(f"{what}: content is no zstd frame")
    try:
        parameters = zstandard.get_frame_parameters(content)
        if parameters.dict_id:
            raise FormatError(f"{what}: content needs a zstd dictionary")
        engine = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX).decompressobj()
        out, fed = bytearray(), 0
        while fed < len(content) and not engine.eof and len(out) <= plain_len:
            out += engine.decompress(content[fed : fed + _SLICE])
            fed += _SLICE
    except zstandard.ZstdError as e:
        raise FormatError(f"{what}: content does not decompress: {e}") from e
    if len(out) != plain_len:
        raise FormatError(f"{what}: content does not decompress to {plain_len} bytes")
    if not engine.eof or engine.unused_data or fed < len(content):
        raise FormatError(f"{what}: content is not one whole zstd frame")
    return bytes(out)


class Frame:
    """The chunks of an opened frame."""

    def __init__(self, data, key, what: str, store_id: bytes | None = None):
        header = FrameHeader(data, what)
        self.header = header
        if len(data) != len(header):
            raise FormatError(f"{what}: is {len(header)} bytes long, but {len(data)} are stated")
        if store_id is not None and header.store_id != store_id:
            raise FormatError(f"{what}: frame of another store {header.store_id.hex()}")
        if key.kem is None:
            raise FormatError("a put key opens no frame; the secret key is needed")
        secret = (header.brick_key(key), header.store_id, header.salt)
        number = header.number.to_bytes(4, "little")
        sealed = data[header.header_len :]
        opened = open_sealed("frame", "frame key", secret, number, header.siv, sealed, header.bytes)
        if opened is None:
            raise FormatError(f"{what}: seal does not verify: damaged or forged")
        self._content(Reader(opened, what))

    def _content(self, r: Reader):
        content_len = r.u32()
        self.plain_len = r.between(r.u32(), 0, PLAIN_MAX, "plain length")
        count = r.between(r.u32(), 1, CHUNKS_MAX, "number of chunks")
        table_len = r.u32()
        content = r.take(content_len)
        r.zeros_to_end("padding")
        if self.header.codec == 1:
            content = _decompress(content, self.plain_len, r.what)
        elif content_len != self.plain_len:
            r.fail("content length is not the plain length")
        if table_len > self.plain_len:
            r.fail("table is longer than the plain bytes")
        table = Reader(content, f"{r.what}, table", self.plain_len - table_len)
        self.offsets = [0]
        for _ in range(count):
            length = table.between(table.uv(), 1, CHUNK_MAX, "chunk length")
            self.offsets.append(self.offsets[-1] + length)
        if table.left():
            table.fail("more than the stated number of chunks")
        if self.offsets[-1] != self.plain_len - table_len:
            table.fail("chunk lengths do not add up")
        self.plain = content

    def __len__(self):
        return len(self.offsets) - 1

    def chunk(self, place: int) -> bytes:
        return self.plain[self.offsets[place] : self.offsets[place + 1]]
