"""The derived vectors that every dialect has: what a writer must refuse, and heads of many messages.

The recordings of the two programs leave most of this out, because their interfaces cannot ask for it.
"""

import hashlib

import codec
from make import ANSWER, REQUEST, content_length, lenient, packet, refused, valid, vector
from names import DIALECTS

NO_TEXT_COMPRESSES_THIS = b"".join(hashlib.sha256(bytes([index])).digest() for index in range(160)).hex()  # 5120 bytes

# Messages with key 1000 that no writer of the dialects may write: name, type, value, rule, comment, dialects.
ALL = tuple(DIALECTS)
MESSAGES = [
    ("raw-4096", "raw", "00" * 4096, "3.4", "one byte too many for the length field", ALL),
    ("string-4096", "string", "a" * 4096, "3.4", "one byte too many for the length field", ALL),
    ("string-4096-chinese", "string", "\u4e2d" * 1365 + "a", "3.4", "1366 characters, but 4096 bytes", ALL),
    ("string-4097", "string", "a" * 4097, "3.4", "a length that would wrap to 1", ALL),
    ("raw-8192", "raw", "00" * 8192, "3.4", "a length that would wrap to 0", ALL),
    ("raw-empty", "raw", "", "4.8", "no writer makes an empty value", ALL),
    ("string-empty", "string", "", "4.8", "no writer makes an empty value", ALL),
    ("int16-32768", "int16", 32768, "3.2", "one more than an int16 holds", ALL),
    ("int16-minus-32769", "int16", -32769, "3.2", "one less than an int16 holds", ALL),
    ("int16-65535", "int16", 65535, "3.2", "an unsigned number", ALL),
    ("int32-2147483648", "int32", 2147483648, "3.2", "one more than an int32 holds", ALL),
    ("int32-minus-2147483649", "int32", -2147483649, "3.2", "one less than an int32 holds", ALL),
    ("int64-9223372036854775808", "int64", "9223372036854775808", "3.2", "one more than an int64 holds", ALL),
    ("int64-minus-9223372036854775809", "int64", "-9223372036854775809", "3.2", "one less than an int64 holds", ALL),
    ("int64-digits", "int64", "9" * 40, "3.2", "far more than an int64 holds", ALL),
    ("zraw", "zraw", "deadbeef", "3.2", "the dialect has no compressed values", ("lexst1", "laxcus6")),
    ("zstring", "zstring", "TEST!", "3.2", "the dialect has no compressed values", ("lexst1", "laxcus6")),
    ("unknown9", "unknown9", "01", "3.3", "a code without a name in this dialect", ("laxcus6",)),
    ("unknown0", "unknown0", "01", "3.3", "a code without a name in this dialect", ("laxcus6", "laxcus2")),
    ("unknown11", "unknown11", "01", "3.3", "a code without a name in this dialect", ("laxcus6", "laxcus2")),
    ("unknown16", "unknown16", "01", "3.3", "four bits hold no 16", ALL),
    ("unknown8-empty", "unknown8", "", "4.8", "no writer makes an empty value", ("lexst1",)),
    ("unknown8-4096", "unknown8", "00" * 4096, "3.4", "one byte too many for the length field", ("lexst1",)),
    ("no-such-type", "int128", "1", "3.2", "no dialect has such a type", ALL),
    ("zraw-incompressible", "zraw", NO_TEXT_COMPRESSES_THIS, "3.4", "5120 bytes that do not become 4095", ("laxcus2",)),
]

# Requests and answers that may not be written: dialect, fields, rule, comment.
COMMANDS = [
    ("lexst1", {"major": 0, "minor": 0}, "2.6", "major 0"),
    ("lexst1", {"major": 1, "minor": 0}, "2.6", "minors of major 1 begin at 1"),
    ("lexst1", {"major": 2, "minor": 9}, "2.6", "minors of major 2 end at 8"),
    ("lexst1", {"major": 255, "minor": 255}, "2.6", "major 255"),
    ("lexst1", {"code": 999}, "2.7", "below the codes of the dialect"),
    ("lexst1", {"code": 5000}, "2.7", "above the codes of the dialect"),
    ("lexst1", {"code": 65535}, "2.7", "above the codes of the dialect"),
    ("laxcus6", {"major": 0, "minor": 0}, "2.6", "not in the table"),
    ("laxcus6", {"major": 1, "minor": 0}, "2.6", "not in the table"),
    ("laxcus6", {"major": 1, "minor": 10}, "2.6", "a hole in the table"),
    ("laxcus6", {"major": 1, "minor": 54}, "2.6", "a hole in the table"),
    ("laxcus6", {"major": 2, "minor": 2}, "2.6", "behind the end of the table"),
    ("laxcus6", {"major": 5, "minor": 1}, "2.6", "TEST with major and minor in the wrong order"),
    ("laxcus6", {"code": 3000}, "2.7", "above the codes of the dialect, legal in lexst1"),
    ("laxcus2", {"major": 256, "minor": 1}, "2.3", "more than a byte"),
    ("laxcus2", {"major": 1, "minor": 256}, "2.3", "more than a byte"),
    ("laxcus2", {"code": 65536}, "2.4", "more than two bytes"),
]


def vectors(dialect):
    found = []
    for name, type_name, value, rule, comment, dialects in MESSAGES:
        if dialect in dialects:
            value = {"key": 1000, "type": type_name, "value": value}
            found.append(refused(dialect, "message", f"refuse-{name}", rule, value, comment))
    for key in (-1, 65536):
        value = {"key": key, "type": "boolean", "value": True}
        found.append(refused(dialect, "message", f"refuse-key-{key}".replace("--", "-minus-"), "3.1", value, "no unsigned 16-bit key"))
    for owner, fields, rule, comment in COMMANDS:
        if owner == dialect:
            kind = "answer" if "code" in fields else "request"
            value = {"type": kind, **fields, "version": 256, "message_count": 0}
            name = "-".join(["refuse", kind, *map(str, fields.values())])
            found.append(refused(dialect, "command", name, rule, value, comment))
    found.append(refused(dialect, "command", "refuse-count-65536", "2.5", {**REQUEST[dialect], "message_count": 65536}, "more than two bytes"))
    found.append(refused(dialect, "command", "refuse-version-65536", "2.2",
                         {**REQUEST[dialect], "version": 65536, "message_count": 0}, "more than two bytes"))
    return found + packets(dialect) + (unknown_values() if dialect == "lexst1" else [])


def packets(dialect):
    test = {"key": 1000, "type": "string", "value": "TEST!"}
    key = DIALECTS[dialect].content_length

    def wrong(name, rule, messages, data, comment, command=REQUEST):
        value = {**command[dialect], "messages": messages, "data": data}
        return refused(dialect, "packet", f"refuse-{name}", rule, value, comment)

    def length(size, type_name="int32"):
        return {**content_length(dialect, size), "type": type_name}

    found = [
        wrong("length-too-great", "5.6", [length(5)], "deadbeef", "CONTENT_LENGTH 5 and four bytes"),
        wrong("length-too-small", "5.6", [length(3)], "deadbeef", "CONTENT_LENGTH 3 and four bytes"),
        wrong("length-0-with-entity", "5.6", [length(0)], "deadbeef", "CONTENT_LENGTH 0 and four bytes"),
        wrong("length-without-entity", "5.6", [length(4)], "", "CONTENT_LENGTH 4 and no entity"),
        wrong("length-negative", "5.6", [length(-1)], "deadbeef", "CONTENT_LENGTH -1, which means none, and four bytes"),
        wrong("length-huge", "5.6", [length(2147483647)], "deadbeef", "CONTENT_LENGTH 2^31-1 and four bytes"),
        wrong("length-first", "5.6", [length(5), test], "deadbeef", "CONTENT_LENGTH 5 before another message, and four bytes"),
        wrong("length-first-counts", "5.6", [length(5), length(4)], "deadbeef", "two of them: the first counts, and it is wrong"),
        wrong("length-int16", "5.6", [length(5, "int16")], "deadbeef", "wrong, as an int16"),
        wrong("length-raw-of-five", "5.2", [{"key": key, "type": "raw", "value": "0400000001"}], "deadbeef", "a fifth byte that is not zero"),
        wrong("length-answer", "5.6", [length(1)], "", "in an answer", ANSWER),
        wrong("empty-string", "4.8", [test, {"key": 1001, "type": "string", "value": ""}], "", "an empty string among the messages"),
        wrong("value-4096", "3.4", [{"key": 1001, "type": "raw", "value": "00" * 4096}], "", "a value that is too long"),
        wrong("int32-2147483648", "3.2", [{"key": 1001, "type": "int32", "value": 2147483648}], "", "a number that is too great"),
    ]
    if dialect != "laxcus2":
        found.append(wrong("zstring", "3.2", [{"key": 1001, "type": "zstring", "value": "TEST!"}], "", "a type that the dialect lacks"))
        found.append(wrong("request-9-9", "2.6", [], "", "a request that the dialect lacks", {dialect: {"type": "request", "major": 9, "minor": 9, "version": 256}}))
    truth = {"type": "boolean", "value": True}
    found.append(valid(dialect, "packet", "messages-1000", "1.1 2.5", packet(dialect, [{"key": index, **truth} for index in range(999)]),
                       "1000 messages, CONTENT_LENGTH among them"))
    if dialect == "laxcus2":  # one dialect is enough for so many bytes
        found.append(too_many(dialect, key))
    return found


def too_many(dialect, key):
    many = codec.message(dialect, 1, "boolean", True) * 32767 + codec.message(dialect, key, "int32", 0)
    data = (codec.packet(dialect, packet(dialect))[:5] + (32768).to_bytes(2, "little") + many).hex()
    return vector(dialect, "packet", "messages-32768", "lenient", "2.5", "one message more than the programs understand: 32767 times "
                  "key 1, boolean, true, and CONTENT_LENGTH 0; the value is left out because it would be 1.3 MB",
                  hex=data, consumed=len(data) // 2)


def unknown_values():
    """Where lexst1 keeps an empty value of a type code without a name, and where it does not."""
    head, empty, length_0, length_1 = "8700010301", "e8030080", "0604016000", "0604016001"
    return [
        lenient("lexst1", "packet", "unknown8-empty-before", "4.8", head + "0200" + empty + length_0, "an empty unknown8 before CONTENT_LENGTH"),
        lenient("lexst1", "packet", "unknown8-empty-entity-behind", "4.8", head + "0200" + length_1 + empty + "de",
                "an empty unknown8 as the last message, but an entity behind it"),
        vector("lexst1", "packet", "unknown8-empty-last", "invalid", "4.8", "an empty unknown8 as the very last bytes of the packet",
               hex=head + "0200" + length_0 + empty, error="bad-value"),
    ]
