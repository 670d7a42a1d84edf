/**
 * Public keys as ssh has them (the base64 part of a line of `id_….pub`, decoded) and whether a signature is
 * theirs: Ed25519, ECDSA and RSA, the first two also of security keys (openssh-portable PROTOCOL.u2f).
 */
import { createPublicKey, hash, verify, type KeyObject, type webcrypto } from 'node:crypto';
import { isEd25519Good, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from './ed25519.ts';
import { magnitudeOf, splitStrings } from './ssh-wire.ts';

export const ED25519 = 'ssh-ed25519';
const RSA = 'ssh-rsa';
const CERTIFICATE = /-cert-v\d+@openssh\.com$/;
/** NIST advises against shorter ones; the token of a longer one would not fit a token's length. */
const RSA_BITS_MIN = 2048;
const RSA_BITS_MAX = 4096;
/** Not ssh-rsa, which is SHA-1. */
const RSA_HASHES: Readonly<Record<string, string>> = { 'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512' };

interface Curve {
  readonly name: string;
  readonly jwkName: string;
  readonly bytes: number;
  readonly hash: string;
}

const P256: Curve = { name: 'nistp256', jwkName: 'P-256', bytes: 32, hash: 'sha256' };
const CURVES: Readonly<Record<string, Curve>> = {
  'ecdsa-sha2-nistp256': P256,
  'ecdsa-sha2-nistp384': { name: 'nistp384', jwkName: 'P-384', bytes: 48, hash: 'sha384' },
  'ecdsa-sha2-nistp521': { name: 'nistp521', jwkName: 'P-521', bytes: 66, hash: 'sha512' },
  'sk-ecdsa-sha2-nistp256@openssh.com': P256,
};
const ED25519_TYPES = [ED25519, 'sk-ssh-ed25519@openssh.com'];

/** After the signature of a security key: a byte of flags, a counter of 32 bits. */
const PRESENCE_BYTES = 5;
/** Somebody has touched it. */
const FLAG_USER_PRESENT = 0x01;

export type SshKey = {
  readonly type: string;
  /** Of a security key: what the key is for, `ssh:` or longer. */
  readonly application: Buffer | undefined;
} & (
  | { readonly kind: 'ed25519'; readonly raw: Buffer }
  | { readonly kind: 'ecdsa'; readonly curve: Curve; readonly point: Buffer }
  | { readonly kind: 'rsa'; readonly exponent: Buffer; readonly modulus: Buffer }
);

/** The fields of a signature, of the right form for its key. */
interface KeySignature {
  /** As node:crypto takes it. */
  readonly bytes: Buffer;
  /** Of Ed25519 it is a part of the algorithm. */
  readonly hash: string | undefined;
  /** Flags and counter of a security key. */
  readonly presence: Buffer;
}

/** @returns undefined unless `blob` is one key of a supported type, in its only spelling. */
export function parseKey(blob: Buffer): SshKey | undefined {
  const [typeBytes, ...fields] = splitStrings(blob) ?? [];
  const type = typeBytes?.toString('latin1') ?? '';
  const application = type.startsWith('sk-') ? fields.pop() : undefined;
  const [first, second] = fields;
  if (ED25519_TYPES.includes(type)) {
    const isWhole = fields.length === 1 && first?.length === PUBLIC_KEY_BYTES;
    return isWhole ? { type, application, kind: 'ed25519', raw: first } : undefined;
  }
  if (fields.length !== 2 || second === undefined) return undefined;
  const curve = Object.hasOwn(CURVES, type) ? CURVES[type] : undefined;
  if (curve !== undefined) {
    const isPoint = second.length === 1 + 2 * curve.bytes && second[0] === 4;
    const isWhole = isPoint && first?.toString('latin1') === curve.name;
    return isWhole ? { type, application, kind: 'ecdsa', curve, point: second } : undefined;
  }
  const [exponent, modulus] = [magnitudeOf(first), magnitudeOf(second)];
  if (type !== RSA || exponent === undefined || modulus === undefined) return undefined;
  return { type, application, kind: 'rsa', exponent, modulus };
}

/** @returns why its signatures cannot be accepted, the end of a sentence; undefined if they can. */
export function problemOfKey(blob: Buffer): string | undefined {
  const type = typeIn(blob);
  if (CERTIFICATE.test(type)) return 'certificates are not supported';
  if (type !== RSA && !ED25519_TYPES.includes(type) && !Object.hasOwn(CURVES, type))
    return `keys of type ${type} are not supported`;
  const key = parseKey(blob);
  if (key === undefined) return 'its key is damaged';
  if (key.kind === 'rsa') {
    const bits = key.modulus.length * 8 - Math.clz32(key.modulus[0] ?? 0) + 24;
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
      return `an RSA key of ${bits} bits: ${RSA_BITS_MIN} to ${RSA_BITS_MAX} are supported`;
  }
  return key.kind !== 'ed25519' && importKey(key) === undefined ? 'its key is damaged' : undefined;
}

/** What a blob says that it is, a certificate included, which is not made of strings alone. */
function typeIn(blob: Buffer): string {
  return blob.length < 4 ? '' : blob.toString('latin1', 4, 4 + blob.readUInt32BE());
}

/** Whether the last field of a signature has the form that this key makes; proves nothing. */
export function isSignatureOf(key: SshKey, field: Buffer): boolean {
  return parseSignature(key, field) !== undefined;
}

/**
 * Takes milliseconds of the event loop.
 * @param field the signature's algorithm and bytes. @param signed what the signature covers.
 */
export function isSignedBy(key: SshKey, field: Buffer, signed: Buffer): boolean {
  const signature = parseSignature(key, field);
  if (signature === undefined) return false;
  const { bytes, presence } = signature;
  const covered = coveredBy(key, presence, signed);
  if (key.kind === 'ed25519') return isEd25519Good(covered, bytes, key.raw);
  const publicKey = importKey(key);
  if (publicKey === undefined) return false;
  return verify(signature.hash, covered, { key: publicKey, dsaEncoding: 'ieee-p1363' }, bytes);
}

/** A security key signs what it knows of itself, too. */
function coveredBy({ application }: SshKey, presence: Buffer, signed: Buffer): Buffer {
  if (application === undefined) return signed;
  const purpose = hash('sha256', application, 'buffer');
  return Buffer.concat([purpose, presence, hash('sha256', signed, 'buffer')]);
}

function parseSignature(key: SshKey, field: Buffer): KeySignature | undefined {
  const presenceAt = key.application === undefined ? field.length : field.length - PRESENCE_BYTES;
  const presence = field.subarray(Math.max(0, presenceAt));
  // Not for a token that a program makes unseen, while the key is plugged in.
  if (key.application !== undefined && ((presence[0] ?? 0) & FLAG_USER_PRESENT) === 0) return undefined;
  const [algorithmBytes, value, ...others] = splitStrings(field.subarray(0, Math.max(0, presenceAt))) ?? [];
  if (value === undefined || others.length > 0) return undefined;
  const algorithm = algorithmBytes?.toString('latin1') ?? '';
  if (key.kind === 'rsa') return parseRsaSignature(key.modulus.length, algorithm, value);
  if (algorithm !== key.type) return undefined;
  if (key.kind === 'ed25519')
    return value.length === SIGNATURE_BYTES ? { bytes: value, hash: undefined, presence } : undefined;
  const bytes = parseEcdsaSignature(key.curve, value);
  return bytes === undefined ? undefined : { bytes, hash: key.curve.hash, presence };
}

/** Some agents leave out leading zeros; OpenSSH puts them back, too. */
function parseRsaSignature(modulusBytes: number, algorithm: string, value: Buffer): KeySignature | undefined {
  const name = Object.hasOwn(RSA_HASHES, algorithm) ? RSA_HASHES[algorithm] : undefined;
  if (name === undefined || value.length > modulusBytes) return undefined;
  return { bytes: padded(value, modulusBytes), hash: name, presence: Buffer.alloc(0) };
}

/** @returns r and s, each as long as the curve's numbers. */
function parseEcdsaSignature({ bytes }: Curve, value: Buffer): Buffer | undefined {
  const numbers = splitStrings(value)?.map(magnitudeOf) ?? [];
  const [r, s] = numbers;
  if (numbers.length !== 2 || r === undefined || s === undefined) return undefined;
  if (r.length > bytes || s.length > bytes) return undefined;
  return Buffer.concat([padded(r, bytes), padded(s, bytes)]);
}

function padded(number: Buffer, lengthBytes: number): Buffer {
  return Buffer.concat([Buffer.alloc(lengthBytes - number.length), number]);
}

/** @returns undefined for a point that is not on the curve, and for numbers that make no key. */
function importKey(key: Exclude<SshKey, { kind: 'ed25519' }>): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwkOf(key), format: 'jwk' });
  } catch {
    return undefined;
  }
}

function jwkOf(key: Exclude<SshKey, { kind: 'ed25519' }>): webcrypto.JsonWebKey {
  const text = (bytes: Buffer): string => bytes.toString('base64url');
  if (key.kind === 'rsa') return { kty: 'RSA', n: text(key.modulus), e: text(key.exponent) };
  const { jwkName, bytes } = key.curve;
  const [x, y] = [key.point.subarray(1, 1 + bytes), key.point.subarray(1 + bytes)];
  return { kty: 'EC', crv: jwkName, x: text(x), y: text(y) };
}
