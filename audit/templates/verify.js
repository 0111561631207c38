"use strict";
// Verifies the evidence that is embedded in this page, in this browser, without network. Each check is shown; what
// fails is red. It reads the same bytes as the file's members; nothing here is trusted but the code of this page.
const utf8 = new TextEncoder();
const text = (bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);
const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const fromHex = (s) => Uint8Array.from(s.match(/../g) || [], (pair) => parseInt(pair, 16));
const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
const join = (...parts) => {
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
};
const sha = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));
const digestOf = (record, payload) => sha(utf8.encode(`exchange/v1/${record}\0`), payload);
class Open extends Error {} // what could not be checked here, as against what is wrong
function need(holds, why) {
  if (!holds) throw new Error(why);
}
function unbase64(s) {
  const raw = atob(s);
  need(btoa(raw) === s, "base64 that is not canonical");
  return Uint8Array.from(raw, (c) => c.charCodeAt(0));
}
// Protobuf: returns {number: [values]}; a value is a BigInt or bytes.
function fields(data) {
  const found = {};
  let at = 0, last = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      need(at < data.length && shift < 64n, "a record ends in the middle of a number");
      const byte = data[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const tag = Number(varint()), number = Math.floor(tag / 8), wire = tag & 7;
    need(number >= last && (wire === 0 || wire === 2), "a record that is not in its one form");
    last = number;
    let value = varint();
    if (wire === 2) {
      need(at + Number(value) <= data.length, "a field longer than its record");
      value = data.slice(at, (at += Number(value)));
    }
    (found[number] = found[number] || []).push(value);
  }
  return found;
}
const bytesOf = (record, number) => (record[number] || [new Uint8Array()])[0];
const textOf = (record, number) => text(bytesOf(record, number));
const numberOf = (record, number) => Number((record[number] || [0n])[0]);
function signed(data) {
  const outer = fields(data);
  const signatures = (outer[2] || []).map(fields).map((s) => ({ type: textOf(s, 1), id: bytesOf(s, 2), value: bytesOf(s, 3) }));
  return { payload: bytesOf(outer, 1), signatures };
}
function keyRecord(data) {
  const record = fields(data);
  return { usage: numberOf(record, 1), suite: numberOf(record, 2), owner: textOf(record, 3), key: bytesOf(record, 4) };
}
async function keyId(record) {
  const owner = utf8.encode(record.owner), size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, record.key.length);
  const head = Uint8Array.of(record.usage, record.suite >> 8, record.suite & 255, owner.length);
  return hex(await sha(utf8.encode("exchange/v1/key-id\0"), head, owner, size, record.key));
}
function frame(type, payload) {
  const name = utf8.encode(type);
  return join(utf8.encode(`DSSEv1 ${name.length} `), name, utf8.encode(` ${payload.length} `), payload);
}
const typeOf = (role) => `application/vnd.exchange.${role}.v1+protobuf`;
// One signature; of a hybrid key the Ed25519 half, which is all that a browser can do.
async function verifyOne(record, signature, payload) {
  const frameBytes = frame(signature.type, payload);
  need(await edVerify(record.key.slice(0, 32), signature.value.slice(0, 64), frameBytes, OWN_ARITHMETIC),
    `the signature by ${record.owner} does not verify`);
}
async function verifySigned(item, role, keys) {
  need(item.signatures.length > 0, "no signature");
  for (const each of item.signatures) {
    need(each.type === typeOf(role), `a signature of type ${each.type}`);
    const record = keys[hex(each.id)];
    need(record !== undefined, `a signature by an unknown key ${hex(each.id).slice(0, 8)}`);
    await verifyOne(record, each, item.payload);
  }
}
const OWN_ARITHMETIC = location.hash === "#own-arithmetic";

// ---- the parts of the evidence --------------------------------------------------------------------------------------
async function readRosters(members) {
  const names = Object.keys(members).filter((n) => n.startsWith("rosters/"))
    .sort((a, b) => parseInt(a.slice(8), 10) - parseInt(b.slice(8), 10));
  need(names.length > 0, "no roster");
  let before = null;
  for (const name of names) {
    const item = signed(members[name]), record = fields(item.payload), keys = {};
    for (const each of record[7] || []) {
      const root = keyRecord(each);
      keys[await keyId(root)] = root;
    }
    const own = { ...keys };
    if (before) Object.assign(keys, before.roots);
    await verifySigned(item, "roster", keys);
    const version = numberOf(record, 2), digest = await digestOf("roster", item.payload);
    if (before === null) {
      need(version === 1 && Object.keys(keys).every((id) => item.signatures.some((s) => hex(s.id) === id)), "roster 1 is not signed by all its roots");
    } else {
      need(version === before.version + 1 && same(bytesOf(record, 3), before.digest), `roster ${version} does not follow on ${before.version}`);
      for (const [roots, least] of [[before.roots, before.threshold], [own, numberOf(record, 8)]]) {
        const owners = new Set(item.signatures.filter((s) => roots[hex(s.id)]).map((s) => roots[hex(s.id)].owner));
        need(owners.size >= least, `roster ${version} has too few signatures`);
      }
    }
    const federation = before ? before.federation : await digestOf("federation", item.payload);
    before = { version, digest, federation, roots: own, threshold: numberOf(record, 8), quorum: numberOf(record, 11),
      members: (record[10] || []).map(readMember), witnesses: (record[12] || []).map(fields) };
  }
  return before;
}
function readMember(data) {
  const record = fields(data), logName = textOf(record, 6);
  const logKeys = (record[7] || []).map(fields).map((k) => ({ key: keyRecord(bytesOf(k, 1)), first: numberOf(k, 2), last: numberOf(k, 3) }));
  return { number: numberOf(record, 1), agency: textOf(record, 2), active: numberOf(record, 3) === 1, root: keyRecord(bytesOf(record, 4)),
    logName, logKeys, witness: keyRecord(bytesOf(record, 8)), witnessName: logName.replace(/\/log$/, "/witness") };
}
async function readManifests(members, roster) {
  const people = {};
  for (const name of Object.keys(members).filter((n) => n.startsWith("manifests/"))) {
    const item = signed(members[name]), record = fields(item.payload);
    const member = roster.members.find((m) => m.agency === textOf(record, 2));
    need(member !== undefined, `${name}: its agency is not in the roster`);
    await verifySigned(item, "manifest", { [await keyId(member.root)]: member.root });
    need(same(bytesOf(record, 1), roster.federation), `${name}: of another federation`);
    const keys = (people[member.agency] = people[member.agency] || {});
    for (const each of (record[6] || []).map(fields)) await addKey(keys, each, 1, 2, 3, member.agency);
    for (const each of (record[7] || []).map(fields)) await addKey(keys, each, 2, 5, 6, `${member.agency}/${textOf(each, 1)}`);
  }
  return people;
}
async function addKey(keys, record, place, from, until, owner) {
  const key = keyRecord(bytesOf(record, place));
  need(key.owner === owner, `a key of ${key.owner} in a list of ${owner}`);
  keys[await keyId(key)] = { ...key, from: numberOf(record, from), until: numberOf(record, until) };
}
// In the same log: the same epoch, or a later one that names the earlier.
function refersTo(row, target) {
  const [name, epoch] = row.point.origin.split(/\/([0-9]+)$/), [other, before] = target.point.origin.split(/\/([0-9]+)$/);
  const earlier = epoch === before ? 0 : Number(before);
  return name === other && Number(epoch) >= Number(before) && row.entry.refersTo === target.entry.index && row.entry.refersToEpoch === earlier;
}
function heldAt(keys, atMs) {
  return Object.fromEntries(Object.entries(keys || {}).filter(([, key]) => key.from <= atMs && atMs < key.until));
}
function readEntry(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  need(data.length >= 54 && text(data.slice(0, 4)) === "exl1", "not an entry of a log");
  const body = fields(data.slice(52));
  return { index: Number(view.getBigUint64(4)), timeMs: Number(view.getBigUint64(12) / 1000n), kind: numberOf(body, 1), peer: numberOf(body, 5),
    bulletin: hex(bytesOf(body, 6)), dispatch: hex(bytesOf(body, 7)), delivery: hex(bytesOf(body, 8)), statement: hex(bytesOf(body, 9)),
    opening: hex(bytesOf(body, 10)), peerIndex: numberOf(body, 15), peerLeaf: hex(bytesOf(body, 16)), peerSize: numberOf(body, 17),
    peerRoot: hex(bytesOf(body, 18)), refersTo: numberOf(body, 20), refersToEpoch: numberOf(body, 21), digest: hex(bytesOf(body, 23)) };
}
async function keyHash(name, type, key) {
  return (await sha(utf8.encode(`${name}\n`), Uint8Array.of(type), key)).slice(0, 4);
}
function noteLines(note) {
  const [head, tail, more] = note.split("\n\n");
  need(tail !== undefined && more === undefined && note.endsWith("\n"), "a checkpoint that is not in its form");
  const lines = tail.slice(0, -1).split("\n").map((line) => {
    const [dash, name, value, more] = line.split(" ");
    need(dash === "\u2014" && value !== undefined && more === undefined, "a signature line that is not in its form");
    const raw = unbase64(value);
    return { name, hash: raw.slice(0, 4), value: raw.slice(4) };
  });
  return { body: `${head}\n`, lines };
}
async function checkNote(note, member, key, roster) {
  const { body, lines } = noteLines(note), [origin, size, root, end] = body.split("\n");
  need(end === "" && /^(0|[1-9][0-9]*)$/.test(size), "a checkpoint that is not in its form");
  const hash = await keyHash(origin, 1, key), own = lines.filter((l) => l.name === origin && same(l.hash, hash));
  need(own.length === 1, "the log's own signature is missing under its checkpoint");
  need(await edVerify(key, own[0].value, utf8.encode(body), OWN_ARITHMETIC), "the log's signature on its checkpoint does not verify");
  const outside = roster.witnesses.map((w) => ({ name: textOf(w, 1), key: keyRecord(bytesOf(w, 2)).key }));
  const inside = roster.members.filter((m) => m.active && m.agency !== member.agency).map((m) => ({ name: m.witnessName, key: m.witness.key }));
  const names = [], times = [];
  for (const witness of [...inside, ...outside]) {
    const id = await keyHash(witness.name, 4, witness.key);
    for (const line of lines.filter((l) => l.name === witness.name && same(l.hash, id))) {
      const time = new DataView(line.value.buffer, line.value.byteOffset).getBigUint64(0);
      const message = utf8.encode(`cosignature/v1\ntime ${time}\n${body}`);
      need(await edVerify(witness.key, line.value.slice(8), message, OWN_ARITHMETIC), `the cosignature of ${witness.name} does not verify`);
      if (!names.includes(witness.name)) names.push(witness.name), times.push(Number(time));
    }
  }
  times.sort((a, b) => a - b);
  return { origin, size: Number(size), root: unbase64(root), names, medianS: times[(times.length - 1) >> 1], reached: roster.quorum > 0 && names.length >= roster.quorum };
}
async function checkProof(data, roster) {
  const all = text(data), cut = all.indexOf("\n\n"), lines = all.slice(0, cut).split("\n"), note = all.slice(cut + 2);
  need(lines[0] === "c2sp.org/tlog-proof@v1" && lines[1].startsWith("extra ") && /^index (0|[1-9][0-9]*)$/.test(lines[2]), "a proof that is not in its form");
  const raw = unbase64(lines[1].slice(6)), entry = readEntry(raw), index = Number(lines[2].slice(6));
  const origin = note.split("\n")[0], logName = origin.replace(/\/[0-9]+$/, ""), epoch = Number(origin.slice(logName.length + 1));
  const member = roster.members.find((m) => m.logName === logName);
  need(member !== undefined, `the roster names no log ${origin}`);
  const logKey = member.logKeys.find((k) => k.first <= epoch && (!k.last || epoch <= k.last));
  need(logKey !== undefined, `the roster names no key of ${origin}`);
  const point = await checkNote(note, member, logKey.key.key, roster);
  need(entry.index === index && index < point.size, "the proof is for another place in the log");
  let node = index, last = point.size - 1, value = await sha(Uint8Array.of(0), raw);
  const leaf = hex(value);
  for (const line of lines.slice(3)) {
    const sibling = unbase64(line);
    need(sibling.length === 32 && last > 0, "a proof with a hash too many");
    if (node % 2 === 1 || node === last) {
      value = await sha(Uint8Array.of(1), sibling, value);
      while (node % 2 === 0 && node !== 0) (node = Math.floor(node / 2)), (last = Math.floor(last / 2));
    } else value = await sha(Uint8Array.of(1), value, sibling);
    (node = Math.floor(node / 2)), (last = Math.floor(last / 2));
  }
  need(last === 0 && same(value, point.root), "the entry is not in the log that was signed");
  return { entry, leaf, member, point };
}
function readDelivery(data) {
  const record = fields(data), lane = fields(bytesOf(record, 1));
  return { federation: bytesOf(lane, 1), sender: textOf(lane, 2), recipient: textOf(lane, 3), dispatch: hex(bytesOf(record, 4)) };
}
async function hmac(key, message) {
  const made = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return hex(new Uint8Array(await crypto.subtle.sign("HMAC", made, message)));
}

// ---- the checks, in order -------------------------------------------------------------------------------------------
const KINDS = { 10: "PUBLISHED", 11: "QUEUED", 12: "RECEIVED", 14: "RECEIPT_RECORDED", 15: "REFUSED", 16: "DUPLICATE", 17: "WITHDRAWN", 25: "ERASED", 26: "EXPORTED" };
async function verifyAll(data, show) {
  const members = {}, at = {};
  const check = async (title, act) => {
    try {
      show(title, "ok", await act());
    } catch (error) {
      show(title, error instanceof Open ? "open" : "failed", error.message);
      if (!(error instanceof Open)) throw error;
      at.open = title;
    }
  };
  await check("The embedded members are whole", async () => {
    for (const [name, [digest, value]] of Object.entries(data)) {
      members[name] = unbase64(value);
      need(hex(await sha(members[name])) === digest, `${name} was altered`);
    }
    return `${Object.keys(members).length} members, each with the SHA-256 that stands beside it`;
  });
  await check("The roster is signed by the federation's roots", async () => {
    at.roster = await readRosters(members);
    return `roster ${at.roster.version}, digest ${hex(at.roster.digest)}: compare it, or its twelve words below, with what your federation published. Checked here: the Ed25519 half of each signature`;
  });
  await check("Each agency's own root vouches for its people's keys", async () => {
    at.people = await readManifests(members, at.roster);
    return Object.keys(at.people).join(", ");
  });
  await check("The entry stands in the log of the agency that made this file", async () => {
    const name = members["proofs/published.tlog-proof"] ? "proofs/published.tlog-proof" : "proofs/received.tlog-proof";
    at.sent = name === "proofs/published.tlog-proof";
    at.own = await checkProof(members[name], at.roster);
    need(at.own.entry.kind === (at.sent ? 10 : 12), "the entry is of another kind");
    at.sender = at.sent ? at.own.member : at.roster.members.find((m) => m.number === at.own.entry.peer);
    need(at.sender !== undefined, "the entry names an unknown sender");
    return `${KINDS[at.own.entry.kind]}, entry ${at.own.entry.index} of ${at.own.point.origin}, ${new Date(at.own.entry.timeMs).toISOString()} by its clock`;
  });
  await check("Other agencies have cosigned that log", async () => {
    if (!at.own.point.reached) throw new Open(`only ${at.own.point.names.length} cosignatures, ${at.roster.quorum} are needed`);
    return `${at.own.point.names.length} of at least ${at.roster.quorum}: ${at.own.point.names.join(", ")}; the middle of their times is ${new Date(at.own.point.medianS * 1000).toISOString()}`;
  });
  if (members["dispatch.signed"]) await check("The sending agency signed the dispatch", async () => {
    const item = signed(members["dispatch.signed"]);
    await verifySigned(item, "dispatch", heldAt(at.people[at.sender.agency], at.own.entry.timeMs));
    need(hex(await digestOf("dispatch", item.payload)) === at.own.entry.dispatch, "it is not the dispatch that the log names");
    const record = fields(item.payload);
    need(textOf(record, 3) === at.sender.agency && hex(bytesOf(record, 2)) === at.own.entry.bulletin && same(bytesOf(record, 1), at.roster.federation), "it is of another sender, bulletin or federation");
    at.dispatch = { statement: hex(bytesOf(record, 4)), signers: (record[5] || []).map(fields), recipients: (record[6] || []).map(fields).map((r) => textOf(r, 1)) };
    need(!at.sent || at.dispatch.statement === at.own.entry.statement, "it names another statement than the log");
    return `${at.sender.agency} to ${at.dispatch.recipients.join(", ")}`;
  });
  if (members["statement.signed"]) await check("The author signed the text", async () => {
    const item = signed(members["statement.signed"]), held = heldAt(at.people[at.sender.agency], at.own.entry.timeMs);
    need(hex(await digestOf("statement", item.payload)) === at.dispatch.statement, "it is not the statement that was dispatched");
    need(item.signatures.length === at.dispatch.signers.length, "a signature is missing or one too many is there");
    const who = [];
    for (const signer of at.dispatch.signers) {
      const role = numberOf(signer, 1) === 1 ? "statement" : "release", id = hex(bytesOf(signer, 2));
      const one = item.signatures.find((s) => hex(s.id) === id && s.type === typeOf(role));
      need(one !== undefined && held[id] !== undefined, "a signer is missing or unknown");
      await verifyOne(held[id], one, item.payload);
      who.push(`${held[id].owner} (${role === "statement" ? "author" : "release"})`);
    }
    at.salt = bytesOf(fields(item.payload), 2);
    return who.join(", ");
  });
  if (members["disclosures/fields.disclosure"]) await check("The log commits to the fields that are shown", () => checkFields(text(members["disclosures/fields.disclosure"]), at.own.entry.digest));
  for (const name of Object.keys(members).filter((n) => n.startsWith("deliveries/"))) {
    const stem = name.slice("deliveries/".length, -".bin".length), agency = stem.replace(/-[0-9]+$/, "");
    await check(`What became of it at ${agency}`, () => checkRecipient(members, at, name, stem, agency));
  }
  for (const name of ["proofs/exported.tlog-proof", "proofs/erased.tlog-proof"].filter((n) => members[n])) {
    await check(name.includes("exported") ? "Taking the content out was logged" : "The erasure was logged", async () => {
      const row = await checkProof(members[name], at.roster);
      need(row.entry.kind === (name.includes("exported") ? 26 : 25) && refersTo(row, at.own), "it is not an entry about this bulletin");
      if (row.entry.kind === 25) return `entry ${row.entry.index}`;
      const request = signed(members["export.signed"]), digest = await digestOf("read", request.payload);
      need(hex(await sha(utf8.encode("exchange/v1/opened\0"), members["export.blind"], digest)) === row.entry.digest, "the log names another request");
      const asked = fields(request.payload); // 15 export; older programs named the bulletin in 5
      const wanted = asked[15] ? bytesOf(fields(bytesOf(asked, 15)), 2) : bytesOf(asked, 5);
      if (request.signatures.length > 0) await verifySigned(request, "read", heldAt(at.people[textOf(asked, 2)], numberOf(asked, 12)));
      need(same(wanted, fromHex(at.own.entry.bulletin)) && textOf(asked, 3) !== "", "the request is for another bulletin");
      need(textOf(asked, 9) === text(members["purpose.txt"]), "the purpose is not the one that was logged");
      return `entry ${row.entry.index}, for the purpose stated`;
    });
  }
  return at.open;
}
// Fields that are shown while the rest stays shut: their commitments and those of the others give the entry's hash.
const SLOTS = ["kind", "number", "originator", "author", "addressees", "dates", "marking", "urgency", "basis", "subject", "case", "references", "persons", "objects", "statements", "body", "areas", "denied", "attachments", "parts"];
async function checkFields(data, root) {
  const names = [], opened = {}, lines = data.split("\n\n")[0].split("\n").slice(1), [word, rest, none] = lines.pop().split(" ");
  for (const line of lines) {
    const [name, salt, value, more] = line.split(" "), slot = SLOTS.indexOf(name);
    need(slot >= 0 && opened[slot] === undefined && unbase64(salt).length === 16 && value && more === undefined, "a field that is not in its form");
    opened[slot] = await sha(utf8.encode("exchange/v1/field\0"), unbase64(salt), Uint8Array.of(slot), unbase64(value));
    names.push(name);
  }
  need(names.length > 0, "no field");
  const shut = unbase64(rest);
  need(word === "shut" && none === undefined && shut.length === 32 * (SLOTS.length - names.length), "the other commitments are not in their form");
  let at = 0;
  const whole = SLOTS.map((name, slot) => opened[slot] || shut.slice(at, at += 32));
  need(hex(await sha(utf8.encode("exchange/v1/fields\0"), Uint8Array.of(SLOTS.length), ...whole)) === root, "the log commits to another bulletin");
  return names.join(", ");
}
async function checkRecipient(members, at, name, stem, agency) {
  const delivery = readDelivery(members[name]), digest = await digestOf("delivery", members[name]);
  const member = at.roster.members.find((m) => m.agency === agency);
  need(member !== undefined && delivery.recipient === agency && delivery.sender === at.sender.agency && delivery.dispatch === at.own.entry.dispatch && same(delivery.federation, at.roster.federation), "the delivery is of another dispatch, sender or recipient");
  const about = (row, peer) => need(row.entry.delivery === hex(digest) && row.entry.dispatch === at.own.entry.dispatch && row.entry.peer === peer, "an entry is of another delivery");
  const opened = async (row) => {
    if (row.entry.kind !== 12 || !at.salt) return "";
    need((await hmac(at.salt, join(utf8.encode("exchange/v1/opening\0"), digest))) === row.entry.opening, "its proof of opening is not this statement's");
    return "; only who opened it could make that entry";
  };
  if (!at.sent) {
    about(at.own, at.sender.number);
    return `its own log says RECEIVED${await opened(at.own)}`;
  }
  const queued = await checkProof(members[`proofs/queued-${stem}.tlog-proof`], at.roster);
  about(queued, member.number);
  need(queued.entry.kind === 11 && refersTo(queued, at.own), "it was not queued as the log says");
  if (!members[`receipts/${stem}.tlog-proof`]) return "queued; no answer of it stands in this file";
  const receipt = await checkProof(members[`receipts/${stem}.tlog-proof`], at.roster);
  about(receipt, at.sender.number);
  need(receipt.member.agency === agency && [12, 15, 16, 17].includes(receipt.entry.kind), "the receipt is of another log or kind");
  const recorded = await checkProof(members[`proofs/answered-${stem}.tlog-proof`], at.roster);
  need(recorded.entry.kind === 14 && refersTo(recorded, queued) && recorded.entry.peerIndex === receipt.entry.index && recorded.entry.peerLeaf === receipt.leaf && recorded.entry.peerSize === receipt.point.size && recorded.entry.peerRoot === hex(receipt.point.root), "the sender recorded another receipt");
  return `its own log says ${KINDS[receipt.entry.kind]}: entry ${receipt.entry.index} of ${receipt.point.origin}, ${new Date(receipt.entry.timeMs).toISOString()}${await opened(receipt)}`;
}

// ---- the page -------------------------------------------------------------------------------------------------------
function row(title, result, detail) {
  const line = document.createElement("tr");
  line.className = result;
  for (const [tag, words] of [["th", title], ["td", result === "failed" ? "FAILED" : result], ["td", detail]]) {
    const cell = document.createElement(tag);
    cell.textContent = words;
    line.append(cell);
  }
  document.getElementById("checks").append(line);
}
async function run() {
  const verdict = document.getElementById("verdict");
  try {
    need(globalThis.crypto && crypto.subtle, "this browser offers no cryptography to pages that are opened from a file");
    const open = await verifyAll(JSON.parse(document.getElementById("data").textContent), row);
    verdict.textContent = open ? `Every check that could be made is good; open: ${open}.` : "Every check made here is good.";
    verdict.className = open ? "open" : "ok";
  } catch (error) {
    verdict.textContent = `Refuted: ${error.message}.`;
    verdict.className = "failed";
  }
}
run();
