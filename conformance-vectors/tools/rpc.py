"""The payloads of remote calls: the recordings as vectors, and which rules of docs/SPEC.md they test.

The recorded programs have the classes whose objects they read; an implementation of the protocol has not. Where
that makes a difference the vector says what the bytes alone can tell.
"""

import re

import make
from recorded import common

# What the recorded programs say, and the kind of refusal that it is by SPEC 7.6. The first that fits counts.
KINDS_OF_ERRORS = [
    (r"illegal flag|invalid type code|OptionalData", "unknown-type"),
    (r"illegal size -|NegativeArraySize|IndexOutOfBounds.*: (0|-\d+) < 1", "bad-value"),
    (r"IndexOutOfBounds|EOFException|OutOfMemory", "truncated"),
    (r"invalid stream header", "bad-tag"),
    (r"UTFDataFormat", "invalid-utf8"),
    (r"", "bad-value"),
]
# Refused because of the classes that the program has, not because of the bytes.
OF_CLASSES = re.compile(r"NotSerializable|UnsupportedOperationException: (RpcBean|com\.laxcus\.util\.classable)|ClassNotFoundException: (?!com\.lexst\.remote)|"
                        r"RpcBean; local class incompatible|enum constant|ExceptionInInitializer|java\.lang\.ClassNotFound")
# Classes of java.lang that are written without their package.
SHORT = {"Object", "String", "Class", "Number", "Byte", "Short", "Integer", "Long", "Character", "Boolean", "Float", "Double", "Void", "Throwable"}
# The rules of a vector of laxcus6 that is refused, by the name of the vector.
REFUSED = [
    (r"tag-(30|40)$", ["12.19", "12.20"]),
    (r"tag-", ["12.14"]),
    (r"(string|iface)-len", ["12.10", "12.23"]),
    (r"bytes-(len|0)", ["12.16", "12.23"]),
    (r"(ints|booleans|longs)-len", ["12.17", "12.23"]),
    (r"objects-len", ["12.18", "12.23"]),
    (r"classable", ["12.19"]),
    (r"serial|throw", ["12.20"]),
    (r"call-type-", ["12.12"]),
    (r"call", ["12.11"]),
    (r"", ["12.13"]),
]
# The rules of a vector of lexst1, by its name, besides those that its value tests.
OF_LEXST1 = [
    (r"trunc|magic|trailing", {"12.30"}),
    (r"first-code|null-object|blockdata", {"12.31"}),
    (r"ref-|reference|cycle", {"12.32"}),
    (r"shared|cache|equal|literal", {"12.32", "12.39"}),
    (r"utf|longstring|65535|65536|7000|33000", {"12.33"}),
    (r"len-(1m|50000000)", {"12.36", "12.41"}),
    (r"(types|bytes)-len", {"12.36"}),
    (r"proxy|flags|fieldcount|typecode", {"12.34"}),
    (r"reply-class-unknown|suid-|bean-suid|enum-unknown", {"12.42"}),
    (r"deep", {"12.36", "12.41"}),
    (r"", set()),
]
PRIMITIVES = {"byte", "short", "int", "long", "char", "boolean", "float", "double"}
BOXES = {"Byte", "Short", "Integer", "Long", "Character", "Boolean", "Float", "Double"}


def from_recording(line):
    """The payload of a call or of its answer."""
    words = line.get("error", "").splitlines()[:1]
    if line.get("encode_reject"):
        of_classes = OF_CLASSES.search(words[0])
        made = common(line, "note" if of_classes else "refuse-encode", "encoder-refused") | {"value": form(line["value"])}
        made.pop("hex")
        return made | {"comment": f"{made['comment']}; the program says {words[0]}"} | ({} if of_classes else {"error": "bad-value"})
    if line.get("reject"):
        made = common(line, "lenient" if OF_CLASSES.search(words[0]) else "invalid", "rejected")
        made["comment"] += f"; the program says {words[0]}"
        return made if made["class"] == "lenient" else made | {"error": kind_of_error(words[0])}
    value = line.get("decoded", line["value"])
    as_written = not line.get("decode_only") and writable(line["dialect"], value)
    made = common(line, "valid" if as_written else "decode-only", "accepted" if line.get("decode_only") else "encoded")
    made["value"] = form(value)
    if "left" in line:
        made["consumed"] = len(line["hex"]) // 2 - line["left"]
    if "decoded" in line:
        made["comment"] += "; written for another value that is read like this one"
    return made


def kind_of_error(words):
    return next(kind for pattern, kind in KINDS_OF_ERRORS if re.search(pattern, words))


def form(value):
    """A value without what only its class can tell: the text of an object, and that a constant of an enum is of a class of its own."""
    if isinstance(value, list):
        return [form(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {name: form(item) for name, item in value.items() if not (name == "text" and "classable_fields_hex" in value)}
    for name in ("type", "actual"):
        if name in value:
            value[name] = full_name(value[name])
    return value


def full_name(name):
    if name in ("IllegalStateException", "StringBuilder"):
        return f"java.lang.{name}"
    return name.removesuffix("$1") if name == "RpcBean$Color$1" else name


def writable(dialect, value):
    """Whether a writer that has no classes makes the bytes of this value: of everything but other objects."""
    values = [value[field] for field in ("object", "throwable") if field in value] + value.get("params", [])
    return all(plain(dialect, item) for item in values)


def plain(dialect, value):
    if "type" not in value:
        return False  # a throwable
    name, content = value.get("actual", value["type"]), value["value"]
    if content is None:
        return True
    if isinstance(content, dict) and "cycle" in content:
        return False
    if name.endswith("[]") and isinstance(content, list):
        return name[:-2] in PRIMITIVES or all(not isinstance(item, dict) or "type" not in item or plain(dialect, item) for item in content)
    if isinstance(content, dict) and "classable_fields_hex" in content:
        return True
    return name in BOXES | PRIMITIVES | {"String", "byte[]", "null"} or name == "Class" and dialect == "laxcus6" and content in PRIMITIVES | {"void", "java.lang.Void"}


def rules(vector):
    """The rules a payload tests."""
    return {"laxcus6": rules_of_laxcus6, "lexst1": rules_of_lexst1}[vector["dialect"]](vector)


def rules_of_laxcus6(vector):
    if vector["class"] in ("invalid", "refuse-encode", "lenient"):
        return next(rules for pattern, rules in REFUSED if re.search(pattern, vector["id"]))
    value = vector["value"]
    found = {"12.10", "12.11" if vector["kind"] == "call" else "12.13"}
    if any(param["type"] != "absent" for param in value.get("params", [])):
        found.add("12.12")
    if "consumed" in vector:
        found.add("12.22")
    if vector["class"] == "valid":
        found.add("12.21")
    items = [value[field] for field in ("object", "throwable") if field in value] + value.get("params", [])
    return found.union(*map(of_value, items))


def of_value(item):
    """The rules of laxcus6 that a value tests."""
    name, content = item.get("actual", item.get("type", "throwable")), item.get("value", item)
    if content is None or name in ("Class", "String"):
        return {"12.14"}
    if name in ("boolean", "Boolean", "float", "Float", "double", "Double"):
        return {"12.14", "12.15"}
    if name == "byte[]":
        return {"12.14", "12.16"}
    if name.endswith("[]"):
        return {"12.14", "12.17"} if name[:-2] in PRIMITIVES else {"12.14", "12.18"}.union(*(of_value(each) for each in content))
    if isinstance(content, dict) and "classable_fields_hex" in content:
        return {"12.14", "12.19"}
    return {"12.14"} if name in PRIMITIVES | BOXES else {"12.14", "12.20"}


def rules_of_lexst1(vector):
    whole = "12.37" if vector["kind"] == "call" else "12.38"
    named = next(rules for pattern, rules in OF_LEXST1 if re.search(pattern, vector["id"]))
    if vector["class"] in ("invalid", "lenient"):
        return named or {whole}
    items = [vector["value"][field] for field in ("object", "throwable") if field in vector["value"]] + vector["value"].get("params", [])
    found = {"12.30", whole, *named}.union(*map(of_object, items))
    return found | {"12.39"} if vector["class"] == "valid" else found


def of_object(item):
    """The rules of lexst1 that a value tests."""
    name, content = item.get("actual", item.get("type", "throwable")), item.get("value", item)
    if content is None:
        return {"12.31"}
    if name == "String":
        return {"12.31", "12.33"}
    if name.endswith("[]"):
        return {"12.31", "12.36"}
    if isinstance(content, dict) and "class" in content:
        return {"12.35", "12.40"}
    return {"12.31", "12.34"} if name == "Class" else {"12.34", "12.35"}


def text(words):
    """A text of laxcus6 in hex."""
    raw = words.encode()
    return len(raw).to_bytes(4, "little").hex() + raw.hex()


def utf(words):
    """A text of a Java stream in hex, without its code."""
    raw = words.encode()
    return len(raw).to_bytes(2, "big").hex() + raw.hex()


HUB = text("com.laxcus.visit.hub.HubVisit")
NODE = "07000100000000000000000201a8c0000000000201a840891300008a1300000000000000000000ffffffff"
BOOM = ("7372" + utf("java.lang.RuntimeException") + "9e5f06470a3483e502000078" + "72" + utf("java.lang.Exception") + "d0fd1f3e1a3b1cc402000078"
        "72" + utf("java.lang.Throwable") + "d5c635273977b8cb0200014c" + utf("detailMessage") + "74" + utf("Ljava/lang/String;") + "787074" + utf("boom"))
THROWN = {"class": "java.lang.RuntimeException", "message": "boom", "cause": None, "stack": 0}
APPLY = ("aced00057372" + utf("com.lexst.remote.Apply") + "557cbe466bbbb6120200044c" + utf("interfaceName") + "74" + utf("Ljava/lang/String;")
         + "4c" + utf("methodName") + "71007e0001" + "5b" + utf("paramTypes") + "74" + utf("[Ljava/lang/Class;")
         + "5b" + utf("params") + "74" + utf("[Ljava/lang/Object;") + "7870")
REPLY = ("aced00057372" + utf("com.lexst.remote.Reply") + "7f4f817fad5576e90200024c" + utf("fatal") + "74" + utf("Ljava/lang/Throwable;")
         + "4c" + utf("object") + "74" + utf("Ljava/lang/Object;") + "7870")
LONG = ("7372" + utf("java.lang.Long") + "3b8be490cc8f23df0200014a" + utf("value") + "7872" + utf("java.lang.Number") + "86ac951d0b94e08b0200007870")

# Examples of the specification: name, kind, class, rules, bytes, value, comment.
EXAMPLES = {"laxcus6": [
    ("current-time", "call", "valid", "12.11", HUB + text("currentTime") + "0000000000000000",
     {"interface": "com.laxcus.visit.hub.HubVisit", "method": "currentTime", "params": [], "params_null": True}, "a call without arguments"),
    ("site-timeout", "call", "valid", "12.11 12.12", HUB + text("getSiteTimeout") + "0100000001" + text("byte") + "010000001408",
     {"interface": "com.laxcus.visit.hub.HubVisit", "method": "getSiteTimeout", "params": [{"type": "byte", "value": 8}]}, "a call with a byte"),
    ("mixed", "call", "valid", "12.12 12.16 12.18",
     HUB + text("mixed") + "0400000001" + text("int") + "00" + text("java.lang.String") + "00" + text("[B") + "00" + text("[Ljava.lang.String;")
     + "0400000018010000001c" + text("x") + "0a010000000912020000001c" + text("p") + "1c" + text("q"),
     {"interface": "com.laxcus.visit.hub.HubVisit", "method": "mixed", "params": [
         {"type": "int", "value": 1}, {"type": "String", "value": "x"}, {"type": "byte[]", "value": "09"},
         {"type": "String[]", "value": [{"type": "String", "value": "p"}, {"type": "String", "value": "q"}], "actual": "Object[]"}]},
     "an array of objects loses the type of its elements"),
    ("long", "reply", "valid", "12.13 12.14", "0119907856341200000000", {"object": {"type": "Long", "value": 0x1234567890}}, "a long"),
    ("null", "reply", "valid", "12.13", "0000", {"object": {"type": "null", "value": None}}, "null, or nothing at all"),
    ("true", "reply", "valid", "12.13 12.15", "01150100", {"object": {"type": "Boolean", "value": True}}, "a boolean"),
    ("node", "reply", "valid", "12.19", "011e4400000001" + text("com.laxcus.site.Node") + NODE + "00",
     {"object": {"type": "com.laxcus.site.Node", "value": {"classable_fields_hex": NODE}}}, "an object that laxcus6 writes itself: home://192.168.1.2:5001_5002"),
    ("thrown", "reply", "valid", "12.13 12.20", "0001289f000000aced0005" + BOOM, {"throwable": THROWN}, "a throwable in the minimal form"),
    ("container", "call", "valid", "12.11", "ffffffffffffffff00000000010000001815cd5b07",
     {"interface": None, "method": None, "params": [{"type": "absent", "value": 123456789, "actual": "Integer"}]}, "parameters alone"),
], "lexst1": [
    ("current-time", "call", "valid", "12.37", APPLY + "74" + utf("com.lexst.visit.naming.home.HomeVisit") + "74" + utf("currentTime")
     + "7572" + utf("[Ljava.lang.Class;") + "ab16d7aecbcd5a990200007870" + "00000000" + "70",
     {"interface": "com.lexst.visit.naming.home.HomeVisit", "method": "currentTime", "params": [], "params_null": True}, "a call without arguments"),
    ("long", "reply", "valid", "12.38", REPLY + "70" + LONG + "0000001234567890", {"object": {"type": "Long", "value": 0x1234567890}}, "a long"),
    ("null", "reply", "valid", "12.38", REPLY + "7070", {"object": {"type": "null", "value": None}}, "null, or nothing at all"),
    ("thrown", "reply", "valid", "12.38 12.40", REPLY + BOOM + "70", {"throwable": THROWN}, "a throwable in the minimal form"),
]}


def examples(dialect):
    """The examples of docs/SPEC.md, byte by byte."""
    return [make.vector(dialect, kind, f"example-{name}", class_name, rule, comment, hex=data, value=value) | {"id": f"{dialect}/rpc/example-{name}"}
            for name, kind, class_name, rule, data, value, comment in EXAMPLES[dialect]]
