"use strict";
// Ed25519 verification in plain JavaScript, RFC 8032, section 5.1.7, strictly: S below the group order, canonical
// points, none of small order, the equation without cofactor. For browsers whose WebCrypto does not have it.
const ED_P = (1n << 255n) - 19n;
const ED_L = (1n << 252n) + 27742317777372353535851937790883648493n;
const edMod = (a) => ((a % ED_P) + ED_P) % ED_P;
function edPow(base, exponent) {
  let result = 1n;
  for (let b = edMod(base); exponent > 0n; exponent >>= 1n, b = (b * b) % ED_P) {
    if (exponent & 1n) result = (result * b) % ED_P;
  }
  return result;
}
const edInvert = (a) => edPow(a, ED_P - 2n);
const ED_D = edMod(-121665n * edInvert(121666n));
const ED_ROOT = edPow(2n, (ED_P - 1n) / 4n);
// Points are (X : Y : Z : T) with x = X/Z, y = Y/Z, xy = T/Z.
function edAdd(a, b) {
  const one = edMod((a[1] - a[0]) * (b[1] - b[0])), two = edMod((a[1] + a[0]) * (b[1] + b[0]));
  const three = edMod(2n * a[3] * ED_D * b[3]), four = edMod(2n * a[2] * b[2]);
  const e = two - one, f = four - three, g = four + three, h = two + one;
  return [edMod(e * f), edMod(g * h), edMod(f * g), edMod(e * h)];
}
function edTimes(scalar, point) {
  let result = [0n, 1n, 1n, 0n];
  for (let p = point; scalar > 0n; scalar >>= 1n, p = edAdd(p, p)) {
    if (scalar & 1n) result = edAdd(result, p);
  }
  return result;
}
const edEqual = (a, b) => edMod(a[0] * b[2]) === edMod(b[0] * a[2]) && edMod(a[1] * b[2]) === edMod(b[1] * a[2]);
const edNumber = (bytes) => bytes.reduceRight((n, byte) => (n << 8n) | BigInt(byte), 0n);
function edPoint(bytes) {
  const all = edNumber(bytes), sign = all >> 255n, y = all & ((1n << 255n) - 1n);
  if (y >= ED_P) return null;
  const u = edMod(y * y - 1n), v = edMod(ED_D * y * y + 1n);
  let x = edMod(u * edPow(v, 3n) * edPow(u * edPow(v, 7n), (ED_P - 5n) / 8n));
  if (edMod(v * x * x) !== u) x = edMod(x * ED_ROOT);
  if (edMod(v * x * x) !== u || (x === 0n && sign === 1n)) return null;
  if ((x & 1n) !== sign) x = ED_P - x;
  const point = [x, y, 1n, edMod(x * y)];
  return edEqual(edTimes(8n, point), [0n, 1n, 1n, 0n]) ? null : point;
}
// A key that counts is a point of the prime-order group; keys are few, so each is judged once.
const edKeys = new Map();
function edKey(bytes) {
  const name = bytes.join();
  if (!edKeys.has(name)) {
    const point = edPoint(bytes);
    edKeys.set(name, point !== null && edEqual(edTimes(ED_L, point), [0n, 1n, 1n, 0n]) ? point : null);
  }
  return edKeys.get(name);
}
const ED_BASE_Y = edMod(4n * edInvert(5n));
const ED_BASE = edPoint(Uint8Array.from({ length: 32 }, (_, i) => Number((ED_BASE_Y >> BigInt(8 * i)) & 255n)));
// key 32, signature 64, message: Uint8Array. The canonical and small-order checks hold for WebCrypto, too.
async function edVerify(key, signature, message, ownArithmetic) {
  if (key.length !== 32 || signature.length !== 64) return false;
  const s = edNumber(signature.slice(32)), point = edKey(key);
  if (s >= ED_L || point === null || edPoint(signature.slice(0, 32)) === null) return false;
  if (!ownArithmetic) {
    try {
      const made = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
      return await crypto.subtle.verify({ name: "Ed25519" }, made, signature, message);
    } catch (error) {
      if (error.name !== "NotSupportedError") return false; // without Ed25519 here: the arithmetic below
    }
  }
  const data = new Uint8Array(64 + message.length);
  data.set(signature.slice(0, 32));
  data.set(key, 32);
  data.set(message, 64);
  const k = edNumber(new Uint8Array(await crypto.subtle.digest("SHA-512", data))) % ED_L;
  return edEqual(edTimes(s, ED_BASE), edAdd(edPoint(signature.slice(0, 32)), edTimes(k, point)));
}
