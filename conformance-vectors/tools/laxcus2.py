"""The derived vectors of laxcus2, of which there are no recordings: no public program speaks it."""

import codec
import deflate
from make import invalid, lenient, packet, pattern, valid, vector
from names import DIALECTS

DIALECT = "laxcus2"

# Messages with key 1000: name, type, value, the value's bytes typed by hand (none: too long to type), comment.
VALUES = [
    ("raw-1", "raw", "00", "00", "one byte, zero: raw values are not numbers and keep it"),
    ("raw-ff", "raw", "ff", "ff", "one byte, 255"),
    ("raw-trailing-zeros", "raw", "01000000", "01000000", "raw values keep their zeros at the end"),
    ("raw-4095", "raw", pattern(4095), None, "the longest raw value"),
    ("boolean-true", "boolean", True, "01", "true"),
    ("boolean-false", "boolean", False, "00", "false"),
    ("string-1", "string", "a", "61", "one character"),
    ("string-test", "string", "TEST!", "5445535421", "the string of the book's example"),
    ("string-nul", "string", "\0", "00", "one character, U+0000"),
    ("string-latin", "string", "\u00e9", "c3a9", "two bytes a character"),
    ("string-chinese", "string", "\u4e2d\u6587", "e4b8ade69687", "three bytes a character"),
    ("string-emoji", "string", "\U0001f600", "f09f9880", "four bytes a character"),
    ("string-last", "string", "\U0010ffff", "f48fbfbf", "the last code point of all"),
    ("string-bom", "string", "\ufeffa", "efbbbf61", "a byte order mark is a character like others"),
    ("string-escapes", "string", "\"\\\n\t\x7f", "225c0a097f", "characters that JSON escapes"),
    ("string-4095", "string", "a" * 4095, None, "the longest string"),
    ("string-4095-chinese", "string", "\u4e2d" * 1365, None, "1365 characters of three bytes: lengths are in bytes"),
    ("int16-0", "int16", 0, "00", "zero has one byte"),
    ("int16-1", "int16", 1, "01", "one"),
    ("int16-minus-1", "int16", -1, "ffff", "a negative number never shrinks"),
    ("int16-127", "int16", 127, "7f", "127"),
    ("int16-128", "int16", 128, "80", "128: no sign extension"),
    ("int16-255", "int16", 255, "ff", "255: no sign extension"),
    ("int16-256", "int16", 256, "0001", "256 needs its low byte"),
    ("int16-minus-256", "int16", -256, "00ff", "-256: a zero byte on the low side stays"),
    ("int16-max", "int16", 32767, "ff7f", "the greatest"),
    ("int16-min", "int16", -32768, "0080", "the least"),
    ("int32-0", "int32", 0, "00", "zero has one byte"),
    ("int32-1", "int32", 1, "01", "one"),
    ("int32-32", "int32", 32, "20", "the example of the specification"),
    ("int32-minus-1", "int32", -1, "ffffffff", "a negative number never shrinks"),
    ("int32-480", "int32", 480, "e001", "480"),
    ("int32-32768", "int32", 32768, "0080", "32768: no sign extension"),
    ("int32-65535", "int32", 65535, "ffff", "65535: no sign extension"),
    ("int32-65536", "int32", 65536, "000001", "65536"),
    ("int32-16777215", "int32", 16777215, "ffffff", "three bytes, all ones"),
    ("int32-16777216", "int32", 16777216, "00000001", "three zero bytes on the low side"),
    ("int32-max", "int32", 2147483647, "ffffff7f", "the greatest"),
    ("int32-min", "int32", -2147483648, "00000080", "the least"),
    ("int64-0", "int64", "0", "00", "zero has one byte"),
    ("int64-1", "int64", "1", "01", "one"),
    ("int64-minus-1", "int64", "-1", "ffffffffffffffff", "the example of the specification"),
    ("int64-255", "int64", "255", "ff", "255: no sign extension"),
    ("int64-4294967295", "int64", "4294967295", "ffffffff", "2^32-1: no sign extension"),
    ("int64-4294967296", "int64", "4294967296", "0000000001", "2^32"),
    ("int64-9007199254740993", "int64", "9007199254740993", "01000000000020", "2^53+1, which a JSON number would lose"),
    ("int64-max", "int64", "9223372036854775807", "ffffffffffffff7f", "the greatest"),
    ("int64-min", "int64", "-9223372036854775808", "0000000000000080", "the least"),
    ("float32-0", "float32", "00000000", "00", "0.0"),
    ("float32-minus-0", "float32", "80000000", "00000080", "-0.0 is not 0.0"),
    ("float32-1", "float32", "3f800000", "0000803f", "1.0"),
    ("float32-1.5", "float32", "3fc00000", "0000c03f", "the example of the specification"),
    ("float32-minus-1.5", "float32", "bfc00000", "0000c0bf", "-1.5"),
    ("float32-pi", "float32", "40490fdb", "db0f4940", "pi"),
    ("float32-subnormal-min", "float32", "00000001", "01", "the least subnormal number, in one byte"),
    ("float32-subnormal-max", "float32", "007fffff", "ffff7f", "the greatest subnormal number, in three bytes"),
    ("float32-normal-min", "float32", "00800000", "000080", "the least normal number"),
    ("float32-max", "float32", "7f7fffff", "ffff7f7f", "the greatest number"),
    ("float32-infinity", "float32", "7f800000", "0000807f", "infinity"),
    ("float32-minus-infinity", "float32", "ff800000", "000080ff", "minus infinity"),
    ("float32-nan", "float32", "7fc00000", "0000c07f", "the canonical NaN"),
    ("float64-0", "float64", "0000000000000000", "00", "0.0"),
    ("float64-minus-0", "float64", "8000000000000000", "0000000000000080", "-0.0 is not 0.0"),
    ("float64-1", "float64", "3ff0000000000000", "000000000000f03f", "1.0"),
    ("float64-1.5", "float64", "3ff8000000000000", "000000000000f83f", "1.5"),
    ("float64-0.1", "float64", "3fb999999999999a", "9a9999999999b93f", "0.1"),
    ("float64-subnormal-min", "float64", "0000000000000001", "01", "the least subnormal number, in one byte"),
    ("float64-subnormal-max", "float64", "000fffffffffffff", "ffffffffffff0f", "the greatest subnormal number, in seven bytes"),
    ("float64-normal-min", "float64", "0010000000000000", "00000000000010", "the least normal number"),
    ("float64-max", "float64", "7fefffffffffffff", "ffffffffffffef7f", "the greatest number"),
    ("float64-infinity", "float64", "7ff0000000000000", "000000000000f07f", "infinity"),
    ("float64-minus-infinity", "float64", "fff0000000000000", "000000000000f0ff", "minus infinity"),
    ("float64-nan", "float64", "7ff8000000000000", "000000000000f87f", "the canonical NaN"),
]

# Compressed values: name, type code, the zlib stream in hex, the content, comment.
PROSE = "The messages follow each other without separators; their lengths tell them apart. " * 3
REPEATED = "TEST! TEST! TEST! TEST!"
COMPRESSED = [
    ("zstring-level-0", 10, "7801011700e8ff5445535421205445535421205445535421205445535421482305e5", REPEATED, "stored, not compressed"),
    ("zstring-level-1", 10, "78010b710d0e515408412701482305e5", REPEATED, "level 1"),
    ("zstring-level-6", 10, "789c0b710d0e515408412701482305e5", REPEATED, "level 6"),
    ("zstring-level-9", 10, "78da0b710d0e515408412701482305e5", REPEATED, "level 9"),
    ("zstring-window-9", 10, "18950b710d0e515408412701482305e5", REPEATED, "a window of 512 bytes"),
    ("zstring-huffman-only", 10, "780105c18100000000c230958289e0f7676973d8386c1c360e7b482305e5", REPEATED, "Huffman codes of its own, no matches"),
    ("zstring-two-blocks", 10, "789c0a710d0e5104000000ffff53484c4fcccc0300136f0382", "TEST! again", "two blocks with an empty stored one between"),
    ("zstring-chinese", 10, "789c7bb263edb369ed0a87572a7c983fa3010044af08a0", "\u4e2d\u6587 \u00e9 \U0001f600", "characters of one to four bytes"),
    ("zstring-prose", 10, "78dad58cc10d80300cc456b909588035ba40848ea6524a5013d4f52963f0b52d17253a23a43270ba994f500e85a77260b6547f12c1"
     "5b86a48fd8b1441b305e35359034fb5087ac2437941f1c5f5f1a5b99", PROSE, "a text that becomes shorter"),
    ("zstring-100000", 10, deflate.run(ord("a"), 100000).hex(), "a" * 100000, "more than a value could hold, in 800 bytes or so"),
    ("zraw-level-6", 9, "789cbbb776df7b0007ee0339", "deadbeef", "four bytes that become longer"),
    ("zraw-stored", 9, "7801010400fbffdeadbeef07ee0339", "deadbeef", "stored, not compressed"),
    ("zraw-text", 9, "789c0b710d0e510400047f0162", "5445535421", "the bytes of TEST!"),
    ("zraw-not-utf-8", 9, "789c4b4cfa9f9c02000799028a", "6162ff6364", "bytes that are no UTF-8 need not be"),
    ("zraw-32", 9, "789c6360646266616563e7e0e4e2e6e1e5e3171014121611151397909492969195930700157001f1", bytes(range(32)).hex(),
     "the bytes 0 to 31"),
    ("zraw-65536-zeros", 9, deflate.run(0, 65536).hex(), "00" * 65536, "64 KiB of zeros"),
]
SPOILED = [
    ("zstring-cut-checksum", 10, "789c0b710d0e510400047f", "bad-compression", "4.9", "the checksum is cut short"),
    ("zstring-cut-data", 10, "789c0b710d", "bad-compression", "4.9", "the data are cut short"),
    ("zstring-header-alone", 10, "789c", "bad-compression", "4.9", "a header and no data"),
    ("zraw-cut-stored", 9, "7801010400fbffdead", "bad-compression", "4.9", "a stored block is cut short"),
    ("zraw-bad-checksum", 9, "789cbbb776df7b0007ee0338", "bad-compression", "4.9", "the checksum is another"),
    ("zraw-bytes-behind", 9, "789cbbb776df7b0007ee033900", "bad-compression", "4.9", "one byte behind the end of the stream"),
    ("zraw-second-stream", 9, "789cbbb776df7b0007ee0339" * 2, "bad-compression", "4.9", "a second stream behind the first"),
    ("zraw-not-zlib", 9, "deadbeef", "bad-compression", "4.9", "no zlib stream at all"),
    ("zstring-plain-text", 10, "5445535421", "bad-compression", "4.9", "the text itself, not compressed"),
    ("zstring-without-header", 10, "0b710d0e510400", "bad-compression", "4.9", "deflate without the header of zlib"),
    ("zstring-gzip", 10, "1f8b08000000000002030b710d0e510400fe2e3f5b05000000", "bad-compression", "4.9", "gzip is another format"),
    ("zstring-dictionary", 10, "78bb047f01620b011100047f0162", "bad-compression", "4.9", "needs a dictionary that nobody has"),
    ("zraw-bad-block", 9, "789c07", "bad-compression", "4.9", "a block of the type that is not used"),
    ("zraw-bad-distance", 9, "789c4b040200", "bad-compression", "4.9", "goes back before the beginning"),
    ("zraw-empty", 9, "", "bad-value", "4.8", "no bytes at all"),
    ("zstring-empty", 10, "", "bad-value", "4.8", "no bytes at all"),
    ("zstring-not-utf-8", 10, "789c4b4cfa9f9c02000799028a", "invalid-utf8", "4.9", "inflates to 61 62 ff 63 64, no UTF-8"),
    ("zstring-surrogate", 10, "789c7bbba00100048a020e", "invalid-utf8", "4.9", "inflates to a surrogate in three bytes"),
    ("zstring-half-character", 10, "789c7bb203000282019d", "invalid-utf8", "4.9", "inflates to the first two of three bytes"),
]

# Messages that no canonical writer makes, key 1000: name, type code, value, rule, comment.
LENIENT = [
    ("int16-padded", 4, "0500", "4.2", "5 in two bytes"),
    ("int16-zero-padded", 4, "0000", "4.2", "0 in two bytes"),
    ("int16-padded-beyond", 4, "050000", "4.2", "5 in three bytes, more than an int16 has"),
    ("int16-negative-padded-beyond", 4, "ffff0000", "4.2", "-1 in four bytes: the width of the type decides the sign"),
    ("int32-padded", 5, "05000000", "4.2", "5 in four bytes"),
    ("int32-padded-beyond", 5, "0500000000000000", "4.2", "5 in eight bytes, more than an int32 has"),
    ("int64-padded", 6, "0500000000000000", "4.2", "5 in eight bytes"),
    ("int64-padded-4095", 6, "05" + "00" * 4094, "4.2", "5 in 4095 bytes"),
    ("float32-padded", 7, "01000000", "4.2 4.4", "the least subnormal number in four bytes"),
    ("float64-padded", 8, "00" * 8, "4.2 4.4", "0.0 in eight bytes"),
    ("float32-nan-payload", 7, "0100a07f", "4.4", "a signalling NaN with a payload"),
    ("float32-nan-negative", 7, "0000c0ff", "4.4", "the quiet NaN with the sign set"),
    ("float64-nan-payload", 8, "010000000000f47f", "4.4", "a signalling NaN with a payload"),
    ("float64-nan-negative", 8, "000000000000f8ff", "4.4", "the quiet NaN with the sign set"),
    ("boolean-2", 2, "02", "4.5", "neither 00 nor 01: false"),
    ("boolean-255", 2, "ff", "4.5", "neither 00 nor 01: false"),
    ("raw-empty", 1, "", "4.8", "an empty raw value"),
    ("string-empty", 3, "", "4.8", "an empty string"),
    ("string-not-utf-8", 3, "6162ff6364", "4.6", "ff is in no UTF-8; a caller can have the bytes"),
    ("string-overlong", 3, "c080", "4.6", "U+0000 in two bytes, as Java likes it, is no UTF-8"),
    ("string-surrogate", 3, "eda080", "4.6", "a surrogate in three bytes is no UTF-8"),
    ("string-half-character", 3, "e4b8", "4.6", "the first two of three bytes"),
]
INVALID = [
    ("int16-digits-beyond", 4, "010203", "bad-value", "4.3", "a third byte that is not zero"),
    ("int16-digits-far-beyond", 4, "0102000001", "bad-value", "4.3", "a fifth byte that is not zero"),
    ("int32-digits-beyond", 5, "0102030405", "bad-value", "4.3", "a fifth byte that is not zero"),
    ("int64-digits-beyond", 6, "010203040506070809", "bad-value", "4.3", "a ninth byte that is not zero"),
    ("float32-digits-beyond", 7, "0000c03f01", "bad-value", "4.3", "a fifth byte that is not zero"),
    ("float64-digits-beyond", 8, "000000000000f83f01", "bad-value", "4.3", "a ninth byte that is not zero"),
    ("boolean-2-bytes", 2, "0100", "bad-value", "4.5", "no recording tells what two bytes mean"),
    ("boolean-empty", 2, "", "bad-value", "4.8", "a boolean of no bytes"),
    ("int16-empty", 4, "", "bad-value", "4.8", "an int16 of no bytes"),
    ("int32-empty", 5, "", "bad-value", "4.8", "an int32 of no bytes"),
    ("int64-empty", 6, "", "bad-value", "4.8", "an int64 of no bytes"),
    ("float32-empty", 7, "", "bad-value", "4.8", "a float32 of no bytes"),
    ("float64-empty", 8, "", "bad-value", "4.8", "a float64 of no bytes"),
    *[(f"type-{code}", code, "01", "unknown-type", "3.3", f"nobody has given the type code {code} a meaning")
      for code in (0, 11, 12, 13, 14, 15)],
    *[(f"type-{code}-empty", code, "", "unknown-type", "3.3", f"nobody has given the type code {code} a meaning") for code in (0, 11, 15)],
]

# Commands: name, rule, value. The version is 256 and there are no messages unless it says so.
COMMANDS = [
    *[(f"request-{major}-{minor}", "2.3 2.6", {"type": "request", "major": major, "minor": minor},
       f"request {major}, {minor}: every request is legal, the major command comes first")
      for major, minor in ((0, 0), (0, 1), (0, 255), (1, 0), (1, 5), (2, 1), (7, 8), (18, 52), (255, 0), (255, 255))],
    *[(f"answer-{code}", "2.4 2.7", {"type": "answer", "code": code}, f"answer {code}: every code is legal")
      for code in (0, 1, 255, 256, 999, 1000, 1010, 3000, 32768, 65535)],
    *[(f"count-{count}", "2.5", {"type": "request", "major": 1, "minor": 5, "message_count": count},
       f"{count} messages announced") for count in (1, 255, 256, 32767)],
]
LENIENT_COMMANDS = [
    ("count-32768", "2.5", "87000101050080", "32768 messages: more than the programs understand"),
    ("count-65535", "2.5", "8700010105ffff", "the most messages that can be announced"),
    ("version-0", "2.2", "87000001050000", "version 0"),
    ("version-1", "2.2", "87010001050000", "version 1, which is version 0x0100 in the wrong byte order"),
    ("version-257", "2.2", "87010101050000", "version 0x0101"),
    ("version-65535", "2.2", "87ffff01050000", "version 0xffff"),
    ("trailing", "5.5", "8700010105000000", "a byte behind the command"),
]

TEN = [
    {"key": 2000, "type": "raw", "value": "00ff"},
    {"key": 2001, "type": "boolean", "value": True},
    {"key": 2002, "type": "string", "value": "TEST! \u4e2d\u6587"},
    {"key": 2003, "type": "int16", "value": -2},
    {"key": 2004, "type": "int32", "value": 65536},
    {"key": 2005, "type": "int64", "value": "-3"},
    {"key": 2006, "type": "float32", "value": "3fc00000"},
    {"key": 2007, "type": "float64", "value": "c000000000000000"},
    {"key": 2008, "type": "zraw", "value": "deadbeef"},
    {"key": 2009, "type": "zstring", "value": REPEATED},
]
# TEN on the wire, behind their count and before CONTENT_LENGTH, typed by hand.
TEN_BYTES = (
    "d0070210" "00ff" "d1070120" "01" "d2070c30" "544553542120e4b8ade69687" "d3070240" "feff" "d4070350" "000001"
    "d5070860" "fdffffffffffffff" "d6070470" "0000c03f" "d7070880" "00000000000000c0"
    "d8070c90" "789cbbb776df7b0007ee0339" "d90710a0" "789c0b710d0e515408412701482305e5")
TEST = {"key": 1000, "type": "string", "value": "TEST!"}


def vectors():
    found = commands()
    for name, type_name, value, raw, comment in VALUES:
        row = valid(DIALECT, "message", name, "3.2", {"key": 1000, "type": type_name, "value": value}, comment)
        assert raw is None or row["hex"][8:] == raw, (name, row["hex"])
        found.append(row)
    for key, comment in ((0, "the least key"), (1020, "CONTENT_LENGTH as a lone message is a message like others"),
                         (12345, "a key without a name"), (65535, "the greatest key")):
        found.append(valid(DIALECT, "message", f"key-{key}", "3.1", {"key": key, "type": "int32", "value": 7}, comment))
    for name, code, stream, content, comment in COMPRESSED:
        value = {"key": 1000, "type": DIALECTS[DIALECT].types[code], "value": content}
        found.append(vector(DIALECT, "message", name, "decode-only", "4.9", comment, hex=message(code, stream), value=value))
    for name, code, stream, error, rule, comment in SPOILED:
        note = comment if error == "bad-value" else comment + "; refused when the content is asked for, as its JSON form does"
        found.append(invalid(DIALECT, "message", name, rule, message(code, stream), error, note))
    for name, code, raw, rule, comment in LENIENT:
        found.append(lenient(DIALECT, "message", name, rule, message(code, raw), comment))
    for name, code, raw, error, rule, comment in INVALID:
        found.append(invalid(DIALECT, "message", name, rule, message(code, raw), error, comment))
    whole = message(3, "616263")
    for size in range(len(whole) // 2):
        found.append(invalid(DIALECT, "message", f"cut-{size}", "3.4", whole[:2 * size], "truncated", f"{size} of 7 bytes"))
    found.append(lenient(DIALECT, "message", "trailing", "5.5", whole + "0909", "two bytes behind the message"))
    return found + packets()


def message(code, raw):
    """A message with key 1000 in hex."""
    return "e803" + (code << 12 | len(raw) // 2).to_bytes(2, "little").hex() + raw


def commands():
    found = []
    for name, rule, value, comment in COMMANDS:
        full = {**value, "version": 256, "message_count": value.get("message_count", 0)}
        found.append(valid(DIALECT, "command", name, rule, full, comment))
    assert found[7]["hex"] == "87000112340000", "request 18, 52 writes its major command first"
    found += [lenient(DIALECT, "command", *row) for row in LENIENT_COMMANDS]
    for tag in ("00", "07", "27", "47", "80", "86", "88", "8f", "c0", "c6", "c8", "ff"):
        found.append(invalid(DIALECT, "command", f"tag-{tag}", "2.1", tag + "000101050000", "bad-tag", f"tag {tag}"))
    for size in range(7):
        found.append(invalid(DIALECT, "command", f"cut-{size}", "2.1", "87000101050000"[:2 * size], "truncated", f"{size} of 7 bytes"))
    return found


def packets():
    def whole(name, rule, value, comment):
        return valid(DIALECT, "packet", name, rule, value, comment)

    def loose(name, rule, data, comment):
        return lenient(DIALECT, "packet", name, rule, data, comment)

    def bad(name, rule, data, error, comment):
        return invalid(DIALECT, "packet", name, rule, data, error, comment)

    head, test, length_0 = "8700010105", "e8030530" "5445535421", "fc03015000"
    length_4 = "fc03015004"
    answer = {"type": "answer", "version": 256, "messages": packet(DIALECT)["messages"], "data": ""}
    no_answer = {**packet(DIALECT, [TEST]), "major": 0, "minor": 0}
    ten = packet(DIALECT, TEN, "deadbeef")
    found = [
        whole("request", "1.1 5.1", packet(DIALECT), "no messages but CONTENT_LENGTH 0"),
        whole("request-0-0", "2.6", no_answer, "request 0, 0"),
        whole("answer-0", "2.7", {**answer, "code": 0}, "answer 0"),
        whole("answer-65535", "2.7", {**answer, "code": 65535}, "answer 65535"),
        whole("test", "1.1 5.1", packet(DIALECT, [TEST], "deadbeef"), "a message and an entity of four bytes"),
        whole("eight-types", "3.2", packet(DIALECT, TEN[:8], "00"), "a message of each type that is not compressed"),
        whole("keys-repeated", "3.1", packet(DIALECT, [{"key": 1000, "type": "int32", "value": 2}, TEST, TEST]), "a key three times, in two types"),
        whole("entity-255", "5.1", packet(DIALECT, [], pattern(255)), "an entity of 255 bytes"),
        whole("entity-256", "5.1", packet(DIALECT, [], pattern(256)), "an entity of 256 bytes"),
        whole("entity-4096", "5.1", packet(DIALECT, [], pattern(4096)), "an entity of 4096 bytes: no field of 12 bits limits it"),
        whole("entity-like-a-packet", "1.1 5.1", packet(DIALECT, [], head + "0100" + length_0), "an entity that is a packet itself"),
        whole("values-of-4095", "3.4", packet(DIALECT, [{"key": 1, "type": "raw", "value": pattern(4095)},
                                                       {"key": 2, "type": "string", "value": "a" * 4095}]), "two values of the greatest length"),
        vector(DIALECT, "packet", "ten-types", "decode-only", "3.2 4.9", "a message of each type, and an entity",
               hex=head + "0b00" + TEN_BYTES + length_4 + "deadbeef", value=ten),
        loose("padded-number", "4.2", head + "0200" + "e9030450" "05000000" + length_0, "an int32 in four bytes where one would do"),
        loose("boolean-3", "4.5", head + "0200" + "e9030120" "03" + length_0, "a boolean of 03"),
        loose("string-empty", "4.8", head + "0200" + "e8030030" + length_0, "an empty string"),
        loose("raw-empty-last", "4.8", head + "0200" + length_0 + "e8030010", "an empty raw value as the last bytes"),
        loose("string-not-utf-8", "4.6", head + "0200" + "e8030130ff" + length_0, "a string that is no UTF-8"),
        loose("float-nan", "4.4", head + "0200" + "e8030470010080ff" + length_0, "a NaN that no program writes"),
        loose("version-2", "2.2", "8702000105" "0100" + length_0, "version 2"),
        loose("no-content-length", "5.3", head + "0100" + test, "no CONTENT_LENGTH: no entity"),
        loose("no-messages", "5.3", head + "0000", "a command alone is a packet without an entity"),
        loose("no-content-length-bytes-behind", "5.3 5.5", head + "0100" + test + "deadbeef", "no CONTENT_LENGTH: the bytes behind are no entity"),
        loose("trailing", "5.5", head + "0200" + test + length_4 + "deadbeef" "00", "a byte behind the entity"),
        loose("trailing-packet", "5.5", (head + "0100" + length_0) * 2, "a second packet behind the first"),
        loose("content-length-first", "5.2 5.6", head + "0200" + length_4 + test + "deadbeef", "CONTENT_LENGTH before another message"),
        loose("content-length-twice", "5.2 5.6", head + "0200" + length_4 + length_0 + "deadbeef", "two of them: the first counts"),
        loose("content-length-twice-the-same", "5.2 5.6", head + "0200" + length_4 * 2 + "deadbeef", "two that say the same"),
        loose("content-length-padded", "5.2", head + "0100" + "fc03045004000000" "deadbeef", "CONTENT_LENGTH in four bytes"),
        loose("content-length-padded-beyond", "5.2", head + "0100" + "fc0306500400000000" "00" "deadbeef", "CONTENT_LENGTH in six bytes"),
        loose("content-length-int16", "5.2", head + "0100" + "fc03014004" "deadbeef", "CONTENT_LENGTH as an int16"),
        loose("content-length-int64", "5.2", head + "0100" + "fc03016004" "deadbeef", "CONTENT_LENGTH as an int64"),
        loose("content-length-raw", "5.2", head + "0100" + "fc03021004" "00" "deadbeef", "CONTENT_LENGTH as raw bytes"),
        loose("content-length-float32", "5.2", head + "0100" + "fc03017004" "deadbeef", "CONTENT_LENGTH as a float32: its bytes count, not its number"),
        loose("content-length-boolean", "5.2", head + "0100" + "fc03012001" "de", "CONTENT_LENGTH as a boolean, true: one byte"),
        loose("content-length-negative", "5.3", head + "0100" + "fc030450ffffffff", "CONTENT_LENGTH -1: no entity"),
        loose("content-length-least", "5.3", head + "0100" + "fc03045000000080", "CONTENT_LENGTH -2^31: no entity"),
        bad("content-length-empty", "4.8 5.2", head + "0100" + "fc030050", "bad-value", "CONTENT_LENGTH of no bytes: no int32 either"),
        bad("content-length-empty-raw", "5.2", head + "0100" + "fc030010", "bad-entity", "CONTENT_LENGTH as raw of no bytes"),
        bad("content-length-five-bytes", "5.2", head + "0100" + "fc0305600400000001" "deadbeef", "bad-entity",
            "CONTENT_LENGTH as an int64 of more than four bytes"),
        bad("entity-cut", "5.4", head + "0100" + length_4 + "deadbe", "truncated", "three bytes of an entity of four"),
        bad("entity-absent", "5.4", head + "0100" + length_4, "truncated", "no byte of an entity of four"),
        bad("message-absent", "3.4", head + "0200" + length_0, "truncated", "two messages announced, one there"),
        bad("value-past-end", "3.4", head + "0100" + "e803ff1f" "010203", "truncated", "a value of 4095 bytes with three of them there"),
        bad("tag", "2.1", "0700010105" "0100" + length_0, "bad-tag", "a tag of kind 0"),
        bad("zstring-spoiled", "4.9", head + "0200" + "e80302a0" "789c" + length_0, "bad-compression",
            "a compressed string that is cut short; refused when the content is asked for, as its JSON form does"),
        *[bad(f"type-{code}", "3.3", head + "0200" + message(code, "01") + length_0, "unknown-type", f"type code {code}")
          for code in (0, 11, 12, 13, 14, 15)],
    ]
    small = codec.packet(DIALECT, packet(DIALECT, [TEST], "deadbeef")).hex()
    for size in range(len(small) // 2):
        rule = "2.1" if size < 7 else "5.4" if size > 20 else "3.4"
        found.append(bad(f"cut-{size}", rule, small[:2 * size], "truncated", f"{size} of {len(small) // 2} bytes"))
    return found
