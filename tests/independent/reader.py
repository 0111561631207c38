"""A second reader of envelopes and receipts, written from ``proto/README.md`` alone.

It knows none of our code: raw primitives only (hashlib, hmac, AES-GCM, ChaCha20-Poly1305, X25519, ML-KEM-768,
libsodium's Ed25519) and its own walk over protobuf. It runs alone, isolated, reads one job in JSON from standard
input and answers in JSON: what it read, or why it refused.
"""

import base64
import hashlib
import hmac
import importlib.util
import json
import sys
from itertools import pairwise


class Refused(Exception):  # noqa: N818 - the reader's own word, from the prose
    """One sentence: what is wrong."""


def need(true, sentence):
    if not true:
        raise Refused(sentence)


# ---------------------------------------------------------------- proto/README.md, section 1: names and digests


def sha256(data):
    return hashlib.sha256(data).digest()


def record_digest(name, payload):
    return sha256(b"exchange/v1/" + name + b"\0" + payload)


def key_id(key):
    owner, public = key["owner"].encode(), bytes.fromhex(key["public_key"])
    head = bytes([key["usage"]]) + key["suite"].to_bytes(2, "big") + bytes([len(owner)]) + owner
    return sha256(b"exchange/v1/key-id\0" + head + len(public).to_bytes(4, "big") + public)


def read_records(job):
    digests = [bytes.fromhex(job[name]) for name in ("roster", "manifest", "key_sheet")]
    need(all(len(each) == 32 for each in digests), "records: a digest has 32 bytes")
    return {"digest": record_digest(b"records", b"".join(digests)).hex()}


# ---------------------------------------------------------------- proto/README.md, section 2: canonical protobuf
# A schema: number -> (name, kind, repeated); kind is "number", "text", "bytes", a length in bytes, or a schema.

SIGNATURE = {1: ("type", "text", False), 2: ("key_id", 32, False), 3: ("signature", "bytes", False)}
SIGNED = {1: ("payload", "bytes", False), 2: ("signatures", SIGNATURE, True)}
LOG_HEAD = {1: ("origin", "text", False), 2: ("size", "number", False), 3: ("root", 32, False)}
RESTS_ON = {1: ("type", "text", False), 2: ("digest", 32, False)}
STATEMENT = {
    1: ("federation_id", 32, False),
    2: ("salt", 32, False),
    3: ("bulletin", "bytes", False),
    4: ("roster_digest", 32, False),
    5: ("recipients", "text", True),
    6: ("log_head", LOG_HEAD, False),
    7: ("rests_on", RESTS_ON, True),
}
SIGNER = {1: ("role", "number", False), 2: ("key_id", 32, False)}
RECIPIENT = {1: ("agency", "text", False), 2: ("key_id", 32, False), 3: ("wrap_digest", 32, False)}
ABSENT = {1: ("agency", "text", False), 2: ("reason", "number", False)}
DISPATCH = {
    1: ("federation_id", 32, False),
    2: ("bulletin_id", 16, False),
    3: ("sender", "text", False),
    4: ("statement_digest", 32, False),
    5: ("signers", SIGNER, True),
    6: ("recipients", RECIPIENT, True),
    7: ("absent", ABSENT, True),
    8: ("body_suite", "number", False),
    9: ("expires_ms", "number", False),
    10: ("urgency", "number", False),
    11: ("ciphertext_digest", 32, False),
    12: ("ciphertext_size", "number", False),
    14: ("part", "number", False),
    15: ("parts", "number", False),
}
LANE = {
    1: ("federation_id", 32, False),
    2: ("sender", "text", False),
    3: ("recipient", "text", False),
    4: ("class", "number", False),
    5: ("epoch", "number", False),
}
DELIVERY = {
    1: ("lane", LANE, False),
    2: ("sequence", "number", False),
    3: ("previous", 32, False),
    4: ("dispatch_digest", 32, False),
    5: ("time_ms", "number", False),
}
WITHDRAWN = {1: ("sequence", "number", False), 2: ("reason", "number", False)}
LANE_HEAD = {
    1: ("lane", LANE, False),
    2: ("sequence", "number", False),
    3: ("delivery_digest", 32, False),
    4: ("latest", "number", False),
    5: ("withdrawn", WITHDRAWN, True),
    6: ("time_ms", "number", False),
}
TARGET = {1: ("sender", "text", False), 2: ("bulletin_id", 16, False), 3: ("statement_digest", 32, False)}
LISTED = {1: ("sender", "text", False), 2: ("bulletin_id", 16, False)}
POSITION = ("position", "number", False)
READ = {
    1: ("federation_id", 32, False),
    2: ("agency", "text", False),
    3: ("officer", "text", False),
    4: ("sender", "text", False),
    5: ("bulletin_id", 16, False),
    6: ("statement_digest", 32, False),
    7: ("purpose", "number", False),
    8: ("case", "text", False),
    9: ("reason", "text", False),
    10: ("nonce", 16, False),
    11: ("log_head", LOG_HEAD, False),
    12: ("time_ms", "number", False),
    13: ("listed", LISTED, True),
    14: ("open", TARGET, False),
    15: ("export", TARGET, False),
    16: ("list", {1: ("listed", LISTED, True)}, False),
    17: ("hold", TARGET, False),
    18: ("release", TARGET, False),
    19: ("again", {1: POSITION}, False),
    20: ("failed", {1: POSITION, 2: ("outcome", "number", False)}, False),
}
BYTES_OF_BODY = {2: 16, 6: 16} | dict.fromkeys((7, 8, 9, 10, 16, 18, 19, 23, 24), 32)
NUMBERS_OF_BODY = {1, 3, 4, 5, 11, 12, 13, 14, 15, 17, 20, 21, 22}


def varint(data, at):
    value = shift = 0
    while True:
        need(at < len(data) and shift < 70, "not canonical: a number ends early")
        byte = data[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            need((byte or shift == 7) and value < 1 << 64, "not canonical: a number in more bytes than it needs")
            return value, at


def fields(data):
    """Give (number, wire type, value) of each field, its form checked."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        value, at = varint(data, at)
        need(tag & 7 in (0, 2), "not canonical: a wire type that no schema has")
        if tag & 7 == 2:
            need(at + value <= len(data), "not canonical: a field ends after its message")
            value, at = data[at : at + value], at + value
        yield tag >> 3, tag & 7, value


def parse(schema, data):
    found = {name: [] for name, _, repeated in schema.values() if repeated}
    last = 0
    for number, wire, raw in fields(data):
        need(number in schema, f"not canonical: unknown field {number}")
        name, kind, repeated = schema[number]
        need(number > last or (repeated and number == last), "not canonical: fields out of order or twice")
        need(wire == (0 if kind == "number" else 2), "not canonical: wire type")
        need(raw or isinstance(kind, dict) or repeated, "not canonical: a default value is written")
        last, value = number, raw
        if isinstance(kind, dict):
            value = parse(kind, raw)
        elif kind == "text":
            value = raw.decode()
        elif isinstance(kind, int):
            need(len(raw) == kind, f"not canonical: {name} has {len(raw)} bytes")
        found.setdefault(name, []).append(value) if repeated else found.__setitem__(name, value)
    return found


def ascends(items):
    return all(one < two for one, two in pairwise(items))


# ---------------------------------------------------------------- proto/README.md, section 3: signatures


def ed25519(public, message, signature):
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import BadSignatureError

    try:
        crypto_sign_open(signature + message, public)
    except (BadSignatureError, ValueError):
        return False
    return True


def frame(kind, payload):
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def payload_type(role):
    return f"application/vnd.exchange.{role}.v1+protobuf"


def signed(data):
    message = parse(SIGNED, data)
    order = [(each["type"].encode(), each["key_id"]) for each in message["signatures"]]
    need(ascends(order) and len(order) <= 32, "signatures do not ascend")
    return message


def verify(what, message, expected):
    """Each signature by the key that *expected*, role -> key, has; none missing, none more."""
    roles = {payload_type(role): key for role, key in expected.items()}
    for each in message["signatures"]:
        need(each["type"] in roles, f"{what}: a signature of another type")
        key = roles.pop(each["type"])
        need(each["key_id"] == key_id(key), f"{what}: signed by an unknown key")
        text = frame(each["type"].encode(), message["payload"])
        need(ed25519(bytes.fromhex(key["public_key"]), text, each["signature"]), f"{what}: signature")
    need(not roles, f"{what}: a signature is missing")
    return message["payload"]


# ---------------------------------------------------------------- proto/README.md, section 4: sealing


def expand(name, prk, info, length):
    out = block = b""
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes([len(out) // hashlib.new(name).digest_size + 1]), name)
        out += block
    return out[:length]


def open_wrap(seed, wrapped, info):
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    secret = hashlib.shake_256(seed).digest(96)
    x25519 = X25519PrivateKey.from_private_bytes(secret[64:])
    ephemeral, ciphertext = wrapped[1088:1120], wrapped[1120:]
    one = MLKEM768PrivateKey.from_seed_bytes(secret[:64]).decapsulate(wrapped[:1088])
    two = x25519.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    own = x25519.public_key().public_bytes_raw()
    shared = hashlib.sha3_256(one + two + ephemeral + own + bytes.fromhex("5c2e2f2f5e5c")).digest()
    suite = b"HPKE" + bytes.fromhex("647a00010003")

    def extract(salt, label, ikm):
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")

    def labelled(label, length):
        text = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return expand("sha256", extract(shared, b"secret", b""), text, length)

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    return ChaCha20Poly1305(labelled(b"key", 32)).decrypt(labelled(b"base_nonce", 12), ciphertext, None)


def open_body(content_key, body, context):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    need(len(content_key) == 32, "body: a content key has 32 bytes")
    salt, commitment, chunks = body[:24], body[24:56], body[56:]
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    derived = expand("sha512", content_key, info, 76)
    need(hmac.compare_digest(derived[44:], commitment), "body: commitment")
    cipher, base = AESGCM(derived[:32]), int.from_bytes(derived[32:44], "big")
    count = len(chunks) // 16400 + 1  # the last one is shorter than a full one, and may be empty inside
    pieces = [
        cipher.decrypt((base ^ place).to_bytes(12, "big"), chunks[place * 16400 : (place + 1) * 16400], None)
        for place in range(count)
    ]
    return b"".join(pieces)


def unpad(padded):
    length = int.from_bytes(padded[:4], "big")
    bucket = 4096
    while bucket < length + 4:
        bucket *= 2
    need(len(padded) == bucket, "padding: another bucket")
    need(not padded[4 + length :].strip(b"\0"), "padding: a byte that is not zero")
    return padded[4 : 4 + length]


# ---------------------------------------------------------------- proto/README.md, sections 4 to 6: an envelope


def read_envelope(job):
    from cryptography.exceptions import InvalidTag

    federation, us = bytes.fromhex(job["federation_id"]), job["recipient"]
    data = {name: bytes.fromhex(job[name]) for name in ("lane_head", "delivery", "dispatch", "wrap", "sealed_body")}
    head = parse(LANE_HEAD, verify("lane head", signed(data["lane_head"]), {"lane-head": job["operations"]}))
    lane = head["lane"]
    need(lane["federation_id"] == federation, "lane head: another federation")
    need(lane["sender"] == job["operations"]["owner"], "lane head: another sender")
    need(lane["recipient"] == us, "lane head: of another lane")
    delivery = parse(DELIVERY, data["delivery"])
    found = (delivery["lane"], delivery["sequence"], record_digest(b"delivery", data["delivery"]))
    need(found == (lane, head["sequence"], head["delivery_digest"]), "delivery: not what the head signs for")
    outer = signed(data["dispatch"])
    need(record_digest(b"dispatch", outer["payload"]) == delivery["dispatch_digest"], "dispatch: not the delivery's")
    dispatch = parse(DISPATCH, verify("dispatch", outer, {"dispatch": job["operations"]}))
    need(dispatch["federation_id"] == federation, "dispatch: another federation")
    need(dispatch["sender"] == lane["sender"], "dispatch: another sender")
    need(lane["class"] == (1 if dispatch["urgency"] <= 2 else 2), "dispatch: in the wrong lane")
    need(dispatch["body_suite"] == 32, "dispatch: suite")
    served, absent = ([each["agency"] for each in dispatch[name]] for name in ("recipients", "absent"))
    need(ascends(served) and ascends(absent), "dispatch: recipients do not ascend")
    later = any(each["reason"] > 4 for each in dispatch["absent"]) or any(s["role"] > 2 for s in dispatch["signers"])
    need("parts" not in dispatch and not later, "dispatch: of a form to come")
    need(us in served, "dispatch: not for us")
    mine = dispatch["recipients"][served.index(us)]
    need(record_digest(b"wrap", data["wrap"]) == mine["wrap_digest"], "wrap: digest")
    need(len(data["sealed_body"]) == dispatch["ciphertext_size"], "body: size")
    need(record_digest(b"ciphertext", data["sealed_body"]) == dispatch["ciphertext_digest"], "body: digest")
    bound = federation + dispatch["statement_digest"]
    try:
        info = b"exchange/v1/wrap\0" + bound + mine["key_id"]
        content_key = open_wrap(bytes.fromhex(job["encryption_seed"]), data["wrap"], info)
    except (InvalidTag, ValueError):
        raise Refused("wrap: does not open") from None
    try:
        padded = open_body(content_key, data["sealed_body"], b"exchange/v1/body\0" + bound)
    except InvalidTag:
        raise Refused("body: does not open") from None
    return read_statement(job, dispatch, unpad(padded), served, absent)


def read_statement(job, dispatch, inner, served, absent):
    message = signed(inner)
    need(record_digest(b"statement", message["payload"]) == dispatch["statement_digest"], "statement: another")
    roles = {payload_type("statement"): 1, payload_type("release"): 2}
    inside = sorted((roles.get(each["type"], 0), each["key_id"]) for each in message["signatures"])
    need(inside == [(each["role"], each["key_id"]) for each in dispatch["signers"]], "statement: signers differ")
    expected = {"statement": job["author"]} | ({"release": job["releaser"]} if job["releaser"] else {})
    statement = parse(STATEMENT, verify("statement", message, expected))
    need(statement["federation_id"] == dispatch["federation_id"], "statement: another federation")
    need(not statement["rests_on"], "statement: of a form to come")
    need(ascends(statement["recipients"]), "statement: recipients do not ascend")
    need(sorted(served + absent) == statement["recipients"], "statement: recipients differ")
    return {"statement": inner.hex(), "bulletin": statement["bulletin"].hex(), "recipients": statement["recipients"]}


# ---------------------------------------------------------------- proto/README.md, section 7: a receipt


def exact_base64(text):
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused("proof: not base64") from None
    need(base64.b64encode(raw).decode() == text, "proof: not the base64 of its bytes")
    return raw


def read_checkpoint(note, origin, key):
    lines = note.split("\n")
    need(len(lines) >= 6 and lines[3] == "" and lines[-1] == "", "checkpoint: form")
    need(lines[0] == origin and lines[1].isdigit() and str(int(lines[1])) == lines[1], "checkpoint: form")
    text = "\n".join(lines[:3]).encode() + b"\n"
    ours = f"— {origin} "
    hint = sha256(origin.encode() + b"\n\x01" + key)[:4]
    found = [exact_base64(line.removeprefix(ours)) for line in lines[4:-1] if line.startswith(ours)]
    found = [line for line in found if line[:4] == hint]
    need(len(found) == 1, "checkpoint: no signature by this log")
    need(ed25519(key, text, found[0][4:]), "checkpoint: signature")
    return int(lines[1]), exact_base64(lines[2])


def included(leaf, index, size, path):
    need(index < size, "inclusion: no such leaf")
    fn, sn, value = index, size - 1, leaf
    for node in path:
        need(sn, "inclusion: too many hashes")
        if fn & 1 or fn == sn:
            value = sha256(b"\1" + node + value)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            value = sha256(b"\1" + value + node)
        fn, sn = fn >> 1, sn >> 1
    need(not sn, "inclusion: too few hashes")
    return value


def read_body(data):
    body, understood, last = {}, True, 0
    for number, wire, value in fields(data):
        need(number > last and value, "not canonical: entry body")
        last = number
        if number in BYTES_OF_BODY:
            need(wire == 2 and len(value) == BYTES_OF_BODY[number], "not canonical: entry body")
        elif number in NUMBERS_OF_BODY:
            need(wire == 0, "not canonical: entry body")
        else:
            understood = False
        body[number] = value
    return body, understood and body.get(1, 0) <= 34


def read_log_records(job):
    """audit/README.md, Kinds: the first entry that names other records than those in force before it, or none."""
    none, own, naming = bytes(32), None, False
    roster, manifests, sheets = none, {}, {}
    for index, data in enumerate(job["bodies"]):
        body, _ = read_body(bytes.fromhex(data))
        kind, peer = body[1], body.get(5)
        if kind == 4:
            roster = body[23]
        elif kind == 5:
            own = own or peer
            manifests[peer] = body[23]
        elif kind == 6:
            sheets[peer] = body[23]
        elif kind in (10, 12, 14, 19):
            maker = own if kind in (10, 19) else peer
            three = roster + manifests.get(maker, none) + sheets.get(maker, none)
            if body.get(24) != (record_digest(b"records", three) if 24 in body or naming else None):
                return {"refuted": index}
            naming = naming or 24 in body
    return {"refuted": None}


def read_receipt(job):
    entry, key = bytes.fromhex(job["entry"]), bytes.fromhex(job["log_key"])
    need(54 <= len(entry) <= 4096 and entry[:4] == b"exl1", "entry: form")
    body, understood = read_body(entry[52:])
    top, blank, note = job["proof"].partition("\n\n")
    lines = top.split("\n")
    need(blank and lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("index "), "proof: form")
    need(str(int(lines[1][6:])) == lines[1][6:], "proof: form")
    index, path = int(lines[1][6:]), [exact_base64(line) for line in lines[2:]]
    size, root = read_checkpoint(note, job["origin"], key)
    need(index == int.from_bytes(entry[4:12], "big"), "receipt: the proof is for another index")
    need(included(sha256(b"\0" + entry), index, size, path) == root, "inclusion: another root")
    need(body.get(7, b"").hex() == job["dispatch_digest"], "receipt: of another dispatch")
    need(body.get(8, b"").hex() == job["delivery_digest"], "receipt: of another delivery")
    need(body.get(5) == job["peer"], "receipt: for another member")
    kind = body.get(1)
    if kind in (12, 15, 16, 17):
        label = b"exchange/v1/opening\0" + body[8]
        right = hmac.digest(bytes.fromhex(job["salt"]), label, "sha256") if kind == 12 else None
        need(body.get(10) == right, "receipt: opening")
        need(kind != 15 or body.get(12), "receipt: refused without a reason")
    else:
        need(not understood, "receipt: no answer")
    return {"kind": kind, "understood": understood, "size": size}


def read_shared_receipts(job):
    """Derive the single receipts, and check that each leads to the checkpoint's root."""
    entries, given = [bytes.fromhex(entry) for entry in job["entries"]], [bytes.fromhex(h) for h in job["hashes"]]
    size, root = read_checkpoint(job["note"], job["origin"], bytes.fromhex(job["log_key"]))
    need(all(54 <= len(entry) <= 4096 and entry[:4] == b"exl1" for entry in entries), "shared: an entry's form")
    indexes = [int.from_bytes(entry[4:12], "big") for entry in entries]
    need(0 < len(entries) == len(job["sequences"]) <= 1000 and ascends(job["sequences"]), "shared: deliveries")
    need(ascends(indexes) and indexes[-1] < size, "shared: entries do not ascend, or are outside")
    need(all(len(value) == 32 for value in given), "shared: a hash of another length")
    row, paths, last = {i: sha256(b"\0" + e) for i, e in zip(indexes, entries, strict=True)}, [], size - 1
    while last:
        for index in sorted(row):
            if index ^ 1 not in row and index ^ 1 <= last:
                need(given, "shared: too few hashes")
                row[index ^ 1] = given.pop(0)
        paths.append(row)
        pairs = {index & ~1 for index in row}
        row = {i >> 1: sha256(b"\1" + row[i] + row[i + 1]) if i + 1 in row else row[i] for i in pairs}
        last >>= 1
    need(not given, "shared: too many hashes")
    found = []
    for index, entry in zip(indexes, entries, strict=True):
        path = [row[index >> h ^ 1] for h, row in enumerate(paths) if index >> h ^ 1 in row]
        need(included(sha256(b"\0" + entry), index, size, path) == root, "inclusion: another root")
        lines = "".join(base64.b64encode(value).decode() + "\n" for value in path)
        proof = f"c2sp.org/tlog-proof@v1\nindex {index}\n{lines}\n{job['note']}"
        found.append({"entry": entry.hex(), "proof": proof})
    return {"receipts": found}


# ---------------------------------------------------------------- proto/README.md, section 8: a request to read


def read_request(job):
    read = parse(READ, bytes.fromhex(job["payload"]))
    asked = [READ[number][0] for number in range(14, 21) if READ[number][0] in read]
    old = bool(read["listed"]) or any(name in read for name in TARGET_NAMES)
    need(len(asked) == 1 and not old, "read: not exactly one thing is asked")
    about, target = asked[0] in ("again", "failed"), read[asked[0]]
    need(about == ("case" not in read) == ("reason" not in read), "read: case and reason")
    why = read.get("purpose", 0)
    need(1 <= why <= 5 if asked[0] in ("open", "list") else not why, "read: purpose")
    if about:
        need(target.get("position"), "read: no position")
        need(asked[0] == "again" or target.get("outcome", 0) >= 10, "read: failed without a reason")
    elif asked[0] == "list":
        order = [(each["sender"].encode(), each["bulletin_id"]) for each in target["listed"]]
        need(ascends(order) and 0 < len(order) <= 500, "read: the list")
    else:
        need(all(name in target for name in TARGET_NAMES), "read: the bulletin")
    return {"asked": asked[0]}


TARGET_NAMES = ("sender", "bulletin_id", "statement_digest")


# ---------------------------------------------------------------- some fields, the rest shut

NAMES = "kind number originator author addressees dates marking urgency basis subject case references persons objects"
NAMES = [*NAMES.split(), "statements", "body", "areas", "denied", "attachments", "parts"]
OF_HEADER = {1: 1, 2: 1, 3: 2, 17: 2, 18: 3, 4: 4, 5: 5, 19: 5, 21: 5, 22: 5, 23: 5, 6: 6, 7: 6, 14: 6, 8: 7, 20: 7}
OF_HEADER |= {9: 8, 10: 8, 24: 8, 11: 9, 12: 9, 13: 10, 16: 10, 15: 11, 25: 11, 26: 16, 27: 17, 28: 19}
OF_BULLETIN = {2: 12, 3: 13, 4: 13, 5: 13, 6: 13, 7: 13, 8: 14, 9: 18}


def as_they_stand(data):
    """Give (number, the field's bytes with its tag, its inside) of each field."""
    at = 0
    while at < len(data):
        start = at
        tag, at = varint(data, at)
        value, inside = varint(data, at)
        at = inside + value if tag & 7 == 2 else inside
        yield tag >> 3, data[start:at], data[inside:at]


def slots_of(bulletin):
    values = [b""] * len(NAMES)
    for number, whole, inside in as_they_stand(bulletin):
        if number != 1:
            values[OF_BULLETIN.get(number, 15)] += whole
            values[0] = values[0] or (number.to_bytes(2, "big") if number > 100 else b"")
            continue
        for each, field, _ in as_they_stand(inside):
            values[OF_HEADER.get(each, 11)] += field
    return values


def read_fields(job):
    """Compute the root twice: by whoever has the statement, and by whoever is shown some fields."""
    stream = hashlib.shake_256(b"exchange/v1/field-salts\0" + bytes.fromhex(job["salt"])).digest(32 * len(NAMES))
    commit = lambda j, salt, value: sha256(b"exchange/v1/field\0" + salt + bytes([j]) + value)  # noqa: E731
    root = lambda all_of_them: sha256(b"exchange/v1/fields\0\x14" + b"".join(all_of_them)).hex()  # noqa: E731
    values = slots_of(bytes.fromhex(job["bulletin"]))
    noise = [stream[32 * j : 32 * j + 32] for j in range(len(NAMES))]
    whole = [commit(j, noise[j][:16], value) if value else noise[j] for j, value in enumerate(values)]
    shut = [bytes.fromhex(each) for each in job["shown"]["shut"]]
    shown = {NAMES.index(each["field"]): each for each in job["shown"]["fields"]}
    need(len(shut) == len(NAMES) - len(shown), "disclosure: as many commitments as slots are shut")
    need(all(len(each) == 32 for each in shut), "disclosure: a commitment has 32 bytes")
    told = iter(shut)
    parts = []
    for j in range(len(NAMES)):
        each = shown.get(j)
        opened = each and (bytes.fromhex(each["salt"]), bytes.fromhex(each["value"]))
        need(not opened or (len(opened[0]) == 16 and opened[1]), "disclosure: a salt of 16 bytes and a value")
        parts.append(commit(j, *opened) if opened else next(told))
    need(root(parts) == job["root"], "disclosure: another root")
    return {"root": root(whole), "values": [value.hex() for value in values]}


WHAT = {
    "envelope": read_envelope,
    "receipt": read_receipt,
    "shared receipts": read_shared_receipts,
    "fields": read_fields,
    "records": read_records,
    "read": read_request,
    "log records": read_log_records,
}


def main():
    for ours in ("keys", "audit", "exchange", "google"):
        need(importlib.util.find_spec(ours) is None, f"{ours} can be imported here")
    job = json.load(sys.stdin)
    try:
        answer = WHAT[job["what"]](job)
    except Refused as refused:
        answer = {"refused": str(refused)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    sys.path[:] = [*sys.path, *sys.argv[1:]]  # one folder that holds cryptography and nacl, nothing else
    main()
