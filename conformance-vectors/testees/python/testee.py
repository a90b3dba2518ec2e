"""A FIXP testee: a small FIXP implementation that a conformance runner can judge.
To run it: `python3 testee.py [--policy strict|compatible]`; without the option it is compatible.
It reads JSON requests and answers them, line by line. The numbers in comments are rules of docs/SPEC.md."""
import collections, json, re, struct, sys, zlib

HEAD_LIMIT, ENTITY_LIMIT, INFLATED_LIMIT = 1 << 20, 64 << 20, 1 << 20  # bytes, 7.5
NUMBERS = {"int16": "<h", "int32": "<i", "int64": "<q", "float32": "<I", "float64": "<Q"}  # as `struct` calls them
EIGHT = "raw boolean string int16 int32 int64 float32 float64".split()
REQUESTS6 = {1: {*range(1, 10), 11, 12, 21, 22, 23, 25, 26, 27, 31, 32, 33, 34, 51, 52, 53, 55}, 2: {1}}
# 6.1; `types`: names of the type codes 0 to 15; `requests`: may it be read (write=False), may it be written (write=True)?
Dialect = collections.namedtuple("Dialect", "types request_bytes content_length answers requests")
DIALECTS = {
    "lexst1": Dialect("raw string boolean float32 float64 int16 int32 int64".split() + [f"unknown{n}" for n in range(8, 16)],
                      ("major", "minor"), 1030, range(1000, 5000), lambda major, minor, write: minor in range(1, 9)
                      if major in (1, 2) else major in range(3, 8) and not (write and minor == 0)),
    "laxcus6": Dialect([None, *EIGHT] + [None] * 7, ("minor", "major"), 1020, range(1000, 3000),
                       lambda major, minor, write: minor in REQUESTS6.get(major, ())),
    "laxcus2": Dialect([None, *EIGHT, "zraw", "zstring"] + [None] * 5, ("major", "minor"), 1020, range(65536),
                       lambda major, minor, write: True)}
class Refused(Exception): "Raised as Refused(kind, detail); the kinds are those of 7.6."
def check(holds, kind, detail):
    if not holds: raise Refused(kind, detail)
def refusal(error):  # whatever Python itself finds wrong with a JSON value is a bad-value
    kinds = {Refused: error.args and error.args[0], zlib.error: "bad-compression",
             UnicodeDecodeError: "invalid-utf8", UnicodeEncodeError: "invalid-utf8"}
    return {"error": kinds.get(type(error), "bad-value"), "detail": str(error.args[-1] if error.args else error)[:100]}
def pack(form, *numbers):  # `struct` refuses what is out of range, but takes booleans
    return struct.pack(form, *(None if type(number) is bool else number for number in numbers))
def unhex(digits): return bytes.fromhex(re.fullmatch("(?:[0-9a-f]{2})*", digits)[0])
def take(data, pos, size, what):
    check(pos + size <= len(data), "truncated", f"{what} needs {size} bytes, {len(data) - pos} given")
    return data[pos:pos + size]
def check_legal(dialect, value, write):  # 2.6, 2.7
    legal = value["code"] in dialect.answers if "code" in value else dialect.requests(value["major"], value["minor"], write)
    check(legal, "illegal-command", f"not in the dialect: {value}")
def announced(raw):  # the length of the entity by the bytes of CONTENT_LENGTH, 5.2
    check(raw and not any(raw[4:]), "bad-entity", "CONTENT_LENGTH has no bytes, or more than four")
    return int.from_bytes(raw[:4].ljust(4, b"\0"), "little", signed=True)

# Reading: each function gives what it read, and where that ended.
def read_command(dialect, data, strict):
    tag, version, one, two, count = struct.unpack("<BHBBH", take(data, 0, 7, "command"))  # 1.2
    check(tag in (0x87, 0xc7), "bad-tag", f"tag {tag:02x}")  # 2.1
    check(version == 256 or not strict, "bad-version", f"version {version}")  # 2.2
    check(count <= 32767 or not strict, "not-canonical", f"{count} messages")  # 2.5
    value = {"type": "answer", "code": one + two * 256} if tag == 0xc7 \
        else {"type": "request", **dict(zip(dialect.request_bytes, (one, two)))}  # 2.3, 2.4
    check_legal(dialect, value, strict)
    return value | {"version": version, "message_count": count}, 7
def read_value(dialect, name, raw, strict):
    check(raw or name[:7] == "unknown" or name in ("raw", "string") and not strict, "bad-value", f"empty {name}")  # 4.8
    if name == "boolean":  # 4.5; lexst1, the dialect with unknown types, takes long booleans too
        check(len(raw) == 1 or "unknown8" in dialect.types and not strict, "bad-value", f"boolean of {len(raw)} bytes")
        check(raw[0] < 2 or not strict, "not-canonical", f"boolean {raw[0]:02x}")
        return raw[0] == 1
    if name in NUMBERS:
        width = struct.calcsize(NUMBERS[name])
        check(not any(raw[width:]), "bad-value", f"digits beyond the width of {name}")  # 4.3
        check(not strict or len(raw) == 1 or raw[-1], "not-canonical", "padded number")  # 4.1
        number, = struct.unpack(NUMBERS[name], raw[:width].ljust(width, b"\0"))  # 4.2
        if name.startswith("int"): return str(number) if name == "int64" else number
        infinity, nan = (0x7f800000, 0x7fc00000) if width == 4 else (0x7ff << 52, 0xfff << 51)
        check(not strict or number % (1 << width * 8 - 1) <= infinity or number == nan, "not-canonical", "odd NaN")  # 4.4
        return f"{number:0{width * 2}x}"
    if name in ("zraw", "zstring"):  # 4.9
        stream = zlib.decompressobj()
        raw = stream.decompress(raw, INFLATED_LIMIT + 1)
        check(len(raw) <= INFLATED_LIMIT, "limit", f"inflates to more than {INFLATED_LIMIT} bytes")
        check(stream.eof and not stream.unused_data, "bad-compression", "cut short, or bytes behind its end")
    return raw.decode() if name in ("string", "zstring") else raw.hex()  # 4.6, 4.7
def read_message(dialect, data, strict, pos=0, more=None):  # `more`: do other bytes of the packet follow?
    key, field = struct.unpack("<HH", take(data, pos, 4, "message head"))
    name, end = dialect.types[field >> 12], pos + 4 + field % 4096
    check(name and not (strict and name.startswith("unknown")), "unknown-type", f"type code {field >> 12}")  # 3.3
    raw = take(data, pos + 4, field % 4096, "value")  # 3.4
    at_end = end == len(data) if more is None else not more
    check(raw or not at_end or not name.startswith("unknown"), "bad-value", "empty value at the very end")  # 4.8
    return {"key": key, "type": name, "value": read_value(dialect, name, raw, strict)}, end
def read_packet(dialect, data, strict):
    value, pos = read_command(dialect, data, strict)
    message, lengths, value["messages"] = {}, [], []
    for left in reversed(range(value.pop("message_count"))):
        begin, (message, pos) = pos, read_message(dialect, data, strict, pos, left or lengths[:1] > [0])
        check(pos <= HEAD_LIMIT, "limit", f"head of more than {HEAD_LIMIT} bytes")  # 7.5
        if message["key"] == dialect.content_length: lengths += [0 if lengths else announced(data[begin + 4:pos])]
        value["messages"].append(message)
    canonical = len(lengths) == 1 and (message["key"], message["type"]) == (dialect.content_length, "int32")
    check(canonical or not strict, "not-canonical", "CONTENT_LENGTH is not one int32 at the end of the head")  # 5.1
    check(not strict or lengths[0] >= 0, "bad-entity", "negative CONTENT_LENGTH")  # 5.3
    size = max([0] + lengths[:1])
    check(size <= ENTITY_LIMIT, "limit", f"entity of {size} bytes")  # 7.5
    return value | {"data": take(data, pos, size, "entity").hex()}, pos + size  # 5.4
def read_stream(dialect, chunks, strict):  # 8.1, 8.2
    buffer, packets = b"", []
    for chunk in [] + chunks:  # nothing but a list can be added to a list
        buffer += unhex(chunk)
        try:
            while buffer:
                packet, end = read_packet(dialect, buffer, strict)
                packets, buffer = packets + [packet], buffer[end:]
        except Exception as error:
            if refusal(error)["error"] != "truncated": return refusal(error) | {"packets": packets}  # 8.3
    return {"packets": packets, "pending": len(buffer)}

# Writing: each function takes a value in its JSON form and gives its bytes.
def write_command(dialect, value):
    forms = {"request": ("<BHBBH", 0x87, dialect.request_bytes), "answer": ("<BHHH", 0xc7, ("code",))}
    form, tag, fields = forms[value["type"]]  # 2.1
    raw = pack(form, tag, value.get("version", 256), *(value[field] for field in fields), value.get("message_count", 0))
    check_legal(dialect, {field: value[field] for field in fields}, True)
    return raw
def write_value(name, value):
    if name == "boolean": return {"true": b"\1", "false": b"\0"}[json.dumps(value)]
    if name == "int64": value = int(re.fullmatch("0|-?[1-9][0-9]{0,18}", value)[0])
    if name.startswith("int"): return pack(NUMBERS[name], value).rstrip(b"\0") or b"\0"  # 4.1
    raw = value.encode() if name in ("string", "zstring") else unhex(value)
    if name not in NUMBERS: return zlib.compress(raw) if name in ("zraw", "zstring") else raw
    check(len(raw) == struct.calcsize(NUMBERS[name]), "bad-value", f"{name} is a bit pattern in hex")
    return raw[::-1].rstrip(b"\0") or b"\0"  # 4.4
def write_message(dialect, message):
    check(message["type"] in dialect.types, "unknown-type", f"no type {message['type']!r:.40}")  # 3.2, 3.3
    raw = write_value(message["type"], message["value"])
    check(1 <= len(raw) <= 4095, "bad-value", f"value of {len(raw)} bytes")  # 3.4, 4.8
    return pack("<HH", message["key"], dialect.types.index(message["type"]) << 12 | len(raw)) + raw
def write_packet(dialect, value):
    data, key = unhex(value.get("data", "")), dialect.content_length
    messages = [write_message(dialect, message) for message in [] + value.get("messages", [])]
    lengths = [message[4:] for message in messages if message[:2] == pack("<H", key)]
    if not lengths: messages.append(write_message(dialect, {"key": key, "type": "int32", "value": len(data)}))
    check(not lengths or max(0, announced(lengths[0])) == len(data), "bad-entity", "CONTENT_LENGTH is not the entity's length")  # 5.6
    return write_command(dialect, value | {"message_count": len(messages)}) + b"".join(messages) + data
READERS = {"command": read_command, "message": read_message, "packet": read_packet}
WRITERS = {"command": write_command, "message": write_message, "packet": write_packet}
def answer(request, strict):
    op, kind, dialect = request["op"], request.get("kind"), DIALECTS.get(request.get("dialect"))
    if op == "hello": return dict(implementation="python", version="0.1.0", dialects=[*DIALECTS], ops="decode encode stream".split())
    if dialect and op == "stream": return read_stream(dialect, request["chunks"], strict)
    if not dialect or kind not in READERS or op not in ("decode", "encode"): return {"skip": "not implemented"}
    if op == "encode": return {"hex": WRITERS[kind](dialect, request["value"]).hex()}
    value, consumed = READERS[kind](dialect, unhex(request["hex"]), strict)
    check(consumed * 2 == len(request["hex"]) or not strict, "trailing-bytes", f"{consumed} bytes would do")  # 5.5
    return {"value": value, "consumed": consumed}
if __name__ == "__main__":
    strict = {(): False, ("--policy", "compatible"): False, ("--policy", "strict"): True}[tuple(sys.argv[1:])]
    for line in sys.stdin:
        request = json.loads(line, parse_int=lambda digits: int(digits[:30]))  # longer ones are out of range anyway
        try: reply = answer(request, strict)
        except Exception as error: reply = refusal(error)
        print(json.dumps({"seq": request["seq"]} | reply), flush=True)
