"""A zlib stream written by hand: a run of one byte in two bits per 258 bytes, the same under every library."""

import zlib

ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)  # of the lengths of code length codes, RFC 1951
LONGEST = 258  # bytes that one match stands for


class Bits:
    """Bits from the lowest of each byte to the highest."""

    def __init__(self):
        self.bits = []

    def number(self, value, width):
        self.bits += [value >> index & 1 for index in range(width)]

    def code(self, digits):
        """A Huffman code, its first bit first."""
        self.bits += map(int, digits)

    def bytes(self):
        return bytes(sum(bit << index for index, bit in enumerate(self.bits[at:at + 8])) for at in range(0, len(self.bits), 8))


def run(byte, size):
    """A zlib stream that inflates to `size` bytes of one value, which is 0 or 11 to 117."""
    out = Bits()
    out.number(1, 1)  # the last block
    out.number(2, 2)  # with Huffman codes of its own
    out.number(29, 5)  # 286 lengths of literal and length codes,
    out.number(0, 5)  # 1 of a distance code,
    out.number(14, 4)  # told with codes whose 18 lengths come now
    lengths = {18: 1, 1: 2, 2: 2}
    for symbol in ORDER[:18]:
        out.number(lengths.get(symbol, 0), 3)
    for count in (byte, None, 255 - byte, None, 28):  # zeros, and between them the byte and the end of the block
        if count is None:
            out.code("11")  # a code of 2 bits
            continue
        while count:
            zeros = min(count, 138)
            zeros -= 11 if 0 < count - zeros < 11 else 0
            out.code("0")
            out.number(zeros - 11, 7)
            count -= zeros
    out.code("10")  # 258 bytes again: a code of 1 bit
    out.code("10")  # and so the distance 1
    out.code("10")  # the byte itself
    matches, left = divmod(size - 1, LONGEST)
    for _ in range(matches):
        out.code("00")
    for _ in range(left):
        out.code("10")
    out.code("11")  # end
    return b"\x78\xda" + out.bytes() + zlib.adler32(bytes([byte]) * size).to_bytes(4, "big")
