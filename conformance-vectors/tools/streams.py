"""The derived vectors of streams: packets behind each other, cut into pieces in every way."""

import codec
from make import ANSWER, packet, pattern, vector

TEST = {"key": 1000, "type": "string", "value": "TEST!"}
# A packet that is good in another dialect, and why this one refuses it.
STRANGERS = {
    "lexst1": ("87000115010100fc03015000", "illegal-command", "a SECURE_QUERY of laxcus6, which is major 21 here"),
    "laxcus6": ("870001030701000604016000", "illegal-command", "a RETRY_SUBPACKET of lexst1, which is major 7 here"),
    "laxcus2": ("87000103010200e8030100ff0604016000", "unknown-type", "a packet of lexst1 with a raw value, type code 0"),
}


def vectors():
    return [row for dialect in STRANGERS for row in of_dialect(dialect)]


def of_dialect(dialect):
    test = packet(dialect, [TEST], "deadbeef")
    bare = packet(dialect, command=ANSWER)
    big = packet(dialect, [TEST], pattern(6000))
    three = [bare, test, packet(dialect, [TEST, TEST])]
    test_bytes, bare_bytes = written(dialect, [test]), written(dialect, [bare])
    two = test_bytes + bare_bytes

    def good(name, rule, chunks, packets, pending, comment):
        chunks = [chunk.hex() for chunk in chunks]
        return vector(dialect, "stream", name, "valid", rule, comment, chunks=chunks, packets=packets, pending=pending)

    def bad(name, chunks, packets, error, comment):
        chunks = [chunk.hex() for chunk in chunks]
        return vector(dialect, "stream", name, "invalid", "8.3", comment, chunks=chunks, packets=packets, error=error)

    many = written(dialect, [test, bare] * 25)
    all_three, big_bytes = written(dialect, three), written(dialect, [big])
    found = [
        good("nothing", "8.1", [], [], 0, "no piece at all"),
        good("one-empty-piece", "8.2", [b""], [], 0, "a piece without bytes"),
        good("one", "8.1", [test_bytes], [test], 0, "one packet in one piece"),
        good("two-back-to-back", "8.1", [two], [test, bare], 0, "two packets in one piece"),
        good("two-apart", "8.2", [test_bytes, bare_bytes], [test, bare], 0, "two packets, a piece each"),
        good("empty-pieces", "8.2", [b"", test_bytes[:9], b"", b"", test_bytes[9:], b"", bare_bytes, b""], [test, bare], 0,
             "pieces without bytes before, in and behind packets"),
        good("fifty-in-one", "8.1", [many], [test, bare] * 25, 0, "fifty packets in one piece"),
        good("fifty-in-sevens", "8.2", pieces(many, 7), [test, bare] * 25, 0, "fifty packets in pieces of seven bytes"),
        good("across-the-border", "8.2", [two[:20], two[20:36], two[36:]], [test, bare], 0, "a piece with the end of one packet and the beginning of the next"),
        good("byte-by-byte", "8.2", pieces(all_three, 1), three, 0, "three packets, one byte a piece"),
        good("big-entity-in-pieces", "8.2", pieces(big_bytes, 1448), [big], 0, "an entity of 6000 bytes in pieces of 1448"),
        good("big-entity-then-more", "8.2", pieces(big_bytes + two, 4096), [big, test, bare], 0, "a great packet and two small ones in pieces of 4096"),
        good("ends-in-tag", "8.1", [test_bytes + bare_bytes[:1]], [test], 1, "the second packet ends behind its tag"),
        good("ends-in-command", "8.1", [test_bytes + bare_bytes[:6]], [test], 6, "the second packet ends in its command"),
        good("ends-behind-command", "8.1", [bare_bytes + test_bytes[:7]], [bare], 7, "the second packet ends behind its command"),
        good("ends-in-message-head", "8.1", [bare_bytes + test_bytes[:9]], [bare], 9, "the second packet ends in the head of a message"),
        good("ends-in-value", "8.1", [bare_bytes + test_bytes[:13]], [bare], 13, "the second packet ends in a value"),
        good("ends-in-entity", "8.1", [bare_bytes + test_bytes[:-1]], [bare], len(test_bytes) - 1, "the second packet lacks the last byte of its entity"),
        good("ends-before-the-first-is-whole", "8.2", pieces(test_bytes[:-2], 3), [], len(test_bytes) - 2, "no packet is whole"),
        bad("garbage-first", [b"\xff" * 16], [], "bad-tag", "no packet at all"),
        bad("garbage-behind", [test_bytes + b"\xff" * 16], [test], "bad-tag", "a packet, then bytes that are none"),
        bad("garbage-in-next-piece", [two, b"\0" * 16], [test, bare], "bad-tag", "two packets, then a piece of zeros"),
        bad("text-behind", [test_bytes, b"GET / HTTP/1.1\r\n\r\n"], [test], "bad-tag", "a packet, then another protocol"),
        bad("good-behind-bad", [test_bytes, b"\x07" + bare_bytes[1:], test_bytes], [test], "bad-tag",
            "a packet, one with a bad tag, and a good one that is lost"),
        bad("entity-too-short-announced", [shortened(test_bytes) + bare_bytes], [{**test, "messages": short(test), "data": "deadbe"}], "bad-tag",
            "CONTENT_LENGTH 3 before four bytes: the fourth is read as the next tag"),
        bad("wrong-dialect-second", [test_bytes + bytes.fromhex(STRANGERS[dialect][0])], [test], STRANGERS[dialect][1],
            f"a packet, then {STRANGERS[dialect][2]}"),
        bad("content-length-empty-second", [test_bytes, bare_bytes[:5] + b"\1\0" + bare_bytes[7:9] + bytes([0, bare_bytes[10]]), bare_bytes],
            [test], "bad-value", "a packet, one whose CONTENT_LENGTH has no bytes, and a good one that is lost"),
        vector(dialect, "stream", "without-content-length", "lenient", "8.1 5.3", "a packet without CONTENT_LENGTH has no entity: the next begins behind its messages",
               chunks=[(test_bytes[:5] + b"\1\0" + test_bytes[7:16] + bare_bytes).hex()], packets=[{**test, "messages": [TEST], "data": ""}, bare], pending=0),
    ]
    for cut in range(1, len(test_bytes)):
        found.append(good(f"cut-at-{cut}", "8.2", [test_bytes[:cut], test_bytes[cut:]], [test], 0, f"a packet of {len(test_bytes)} bytes cut at byte {cut}"))
    return found


def written(dialect, packets):
    return b"".join(codec.packet(dialect, packet) for packet in packets)


def pieces(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


def shortened(test_bytes):
    """The packet with CONTENT_LENGTH 3 in place of 4: its last byte before the entity."""
    return test_bytes[:-5] + b"\3" + test_bytes[-4:]


def short(test):
    return [test["messages"][0], {**test["messages"][1], "value": 3}]
