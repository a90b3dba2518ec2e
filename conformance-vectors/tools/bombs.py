"""The derived vectors that announce much and send little, with the memory a decoder may take for them.

`memory` is in bytes of the heap at any one time, beyond the input itself.
"""

import codec
import deflate
from make import ANSWER, packet, pattern, vector
from names import DIALECTS
from testee import ENTITY_LIMIT, INFLATED_LIMIT

SMALL = 4096  # an error value and some slack: an announcement alone must not allocate
INFLATING = INFLATED_LIMIT + 128 * 1024  # the bound, the window of 32 KiB and the tables of an inflater
THREE_VALUES = 32 * 1024  # three values of 4095 bytes, with room for each to be copied twice
HUGE = 2 ** 31 - 1
MUCH = "an announced length must not allocate"


def vectors():
    return [row for dialect in DIALECTS for row in of_dialect(dialect)] + compressed()


def of_dialect(dialect):
    head = codec.packet(dialect, packet(dialect))[:5].hex()

    def announces(size):
        return head + "0100" + codec.message(dialect, DIALECTS[dialect].content_length, "int32", size).hex()

    def bad(name, rule, data, error, comment, memory=SMALL):
        return vector(dialect, "packet", name, "invalid", rule, comment, bomb=True, hex=data, error=error, memory=memory)

    def stream(name, class_name, rule, chunks, comment, **fields):
        result = {"packets": [], "pending": len("".join(chunks)) // 2}
        return vector(dialect, "stream", f"stream-{name}", class_name, rule, comment, bomb=True, chunks=chunks, **result, **fields, memory=SMALL)

    value = head + "0100" + "0100" + (DIALECTS[dialect].types.index("raw") << 12 | 4095).to_bytes(2, "little").hex()
    three = packet(dialect, [{"key": index, "type": "raw", "value": pattern(4095)} for index in range(3)])
    return [
        bad("count-32767", "7.5", head + "ff7f", "truncated", f"32767 messages announced, nothing behind: {MUCH}"),
        bad("count-65535", "7.5", head + "ffff", "truncated", f"65535 messages announced, nothing behind: {MUCH}"),
        bad("count-65535-one-there", "7.5", head + "ffff" + codec.message(dialect, 1, "boolean", True).hex(), "truncated",
            f"65535 messages announced, one there: {MUCH}"),
        bad("value-4095", "3.4", value, "truncated", f"a value of 4095 bytes announced, nothing behind: {MUCH}"),
        bad("entity-limit", "5.4 7.5", announces(ENTITY_LIMIT), "truncated", f"an entity of 64 MiB announced, nothing behind: {MUCH}"),
        bad("entity-beyond-limit", "5.4 7.5", announces(ENTITY_LIMIT + 1), "limit",
            f"an entity of 64 MiB and a byte announced, nothing behind: {MUCH}; beyond the usual limit, and not there either"),
        bad("content-length-max", "5.4 7.5", announces(HUGE), "limit", f"CONTENT_LENGTH 2^31-1, nothing behind: {MUCH}"),
        bad("content-length-max-few-bytes", "5.4 7.5", announces(HUGE) + "deadbeef", "limit",
            f"CONTENT_LENGTH 2^31-1, four bytes behind: {MUCH}, and adding it to an offset must not overflow"),
        vector(dialect, "packet", "three-values-of-4095", "valid", "3.4 7.5", "three values of the greatest length: room for them and little more",
               bomb=True, **codec.encode({"dialect": dialect, "kind": "packet", "value": three}), value=three, memory=THREE_VALUES),
        stream("count-32767", "valid", "7.5", [head + "ff7f"], f"32767 messages announced, nothing behind: it waits, and {MUCH}"),
        stream("count-65535", "lenient", "7.5 2.5", [head + "ffff"], f"65535 messages announced, nothing behind: it waits, and {MUCH}"),
        stream("entity-1-mib", "valid", "5.4 7.5", [announces(1 << 20), "deadbeef"],
               f"an entity of 1 MiB announced, four bytes behind: it waits, and {MUCH}"),
        stream("content-length-max", "lenient", "5.4 7.5", [announces(HUGE), "deadbeef"],
               f"CONTENT_LENGTH 2^31-1, four bytes behind: beyond every sensible limit, but who has a greater one waits; {MUCH}", refusal="limit"),
    ]


def compressed():
    """Compressed values that inflate past the bound of 1 MiB; only laxcus2 has them."""
    dialect = "laxcus2"
    bound = "the bound of 1 MiB, and 128 KiB for the window and the tables of an inflater"

    def message(code, raw):
        return "e803" + (code << 12 | len(raw)).to_bytes(2, "little").hex() + raw.hex()

    def bad(kind, name, data, comment, memory=INFLATING):
        return vector(dialect, kind, name, "invalid", "4.9 7.5", f"{comment}; memory is {bound}", bomb=True, hex=data, error="limit", memory=memory)

    most = 1 + 258 * 16200  # the stream for it has 4070 bytes
    zeros, letters = message(9, deflate.run(0, most)), message(10, deflate.run(ord("a"), most))
    head = codec.packet(dialect, packet(dialect))[:5].hex()
    length = codec.message(dialect, DIALECTS[dialect].content_length, "int32", 0).hex()
    whole = head + "0200" + zeros + length
    answer = packet(dialect, command=ANSWER)
    return [
        bad("message", "zraw", zeros, "4 MiB of zeros in 4070 bytes"),
        bad("message", "zstring", letters, "4 million letters in 4071 bytes"),
        bad("message", "zraw-one-too-many", message(9, deflate.run(0, INFLATED_LIMIT + 1)), "1 MiB and a byte of zeros in 1052 bytes"),
        bad("message", "zstring-one-too-many", message(10, deflate.run(ord("a"), INFLATED_LIMIT + 1)), "1 MiB and a letter in 1053 bytes"),
        bad("packet", "zraw-in-packet", whole, "a packet with 4 MiB of zeros in 4070 bytes"),
        bad("packet", "zraw-ten-times", head + "0b00" + zeros * 10 + length, "a packet with ten times 4 MiB of zeros: one after the other, and not together"),
        vector(dialect, "stream", "stream-zraw", "invalid", "4.9 7.5", f"a packet, then one with 4 MiB of zeros in 4070 bytes; memory is {bound}",
               bomb=True, chunks=[codec.packet(dialect, answer).hex(), whole[:1000], whole[1000:]], packets=[answer], error="limit", memory=INFLATING),
    ]
