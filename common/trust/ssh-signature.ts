/**
 * Ed25519 signatures in OpenSSH's file signature format (openssh-portable PROTOCOL.sshsig), so that
 * `ssh-keygen -Y` makes and checks them without this program. The only importer of tweetnacl.
 */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { hash, randomBytes } from 'node:crypto';
import nacl from 'tweetnacl';

const KEY_TYPE = 'ssh-ed25519';
const MAGIC = Buffer.from('SSHSIG');
const PREAMBLE = Buffer.concat([MAGIC, Buffer.from([0, 0, 0, 1])]);
const PUBLIC_KEY_BYTES = 32;
const SECRET_KEY_BYTES = 64;
const SIGNATURE_BYTES = 64;
export const SEED_BYTES = 32;
/** ssh-keygen breaks its base64 lines here; it reads any length. */
const ARMOR_COLUMNS = 70;
/** The order of the curve's base point, RFC 8032 section 5.1. */
const GROUP_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

export interface SigningKey {
  /** 32 bytes. */
  readonly publicKey: Buffer;
  /** 64 bytes as tweetnacl has it: seed, then public key. */
  readonly secretKey: Buffer;
}

export interface SshSignature {
  /** 32 bytes, raw Ed25519. */
  readonly publicKey: Buffer;
  /** What the signature is for; never empty. A verifier must compare it with its own. */
  readonly namespace: string;
  readonly hashAlgorithm: 'sha256' | 'sha512';
  /** 64 bytes, raw Ed25519. */
  readonly signature: Buffer;
}

/** @param seed the whole secret, 32 bytes; random by default. */
export function makeSigningKey(seed: Buffer = randomBytes(SEED_BYTES)): SigningKey {
  assert.equal(seed.length, SEED_BYTES);
  const pair = nacl.sign.keyPair.fromSeed(seed);
  return { publicKey: Buffer.from(pair.publicKey), secretKey: Buffer.from(pair.secretKey) };
}

/** A line as in `id_ed25519.pub`, without a line break. */
export function publicKeyLine(publicKey: Buffer, comment: string): string {
  assert(!/[\r\n]/.test(comment), 'a comment of one line');
  return `${KEY_TYPE} ${encodeKey(publicKey).toString('base64')} ${comment}`.trimEnd();
}

/** `SHA256:` and unpadded base64, as `ssh-keygen -lf` prints it. */
export function fingerprintOf(publicKey: Buffer): string {
  return `SHA256:${hash('sha256', encodeKey(publicKey), 'base64').replace(/=+$/, '')}`;
}

/** As {@link fingerprintOf}, of a line as in `id_ed25519.pub`; undefined if it is not one. */
export function fingerprintOfLine(line: string): string | undefined {
  const [type, base64 = ''] = line.trim().split(/\s+/);
  const blob = Buffer.from(base64, 'base64');
  const publicKey = parseTyped(blob, PUBLIC_KEY_BYTES);
  const isKey = type === KEY_TYPE && publicKey !== undefined && blob.toString('base64') === base64;
  return isKey ? fingerprintOf(publicKey) : undefined;
}

/**
 * Signs as `ssh-keygen -Y sign -n <namespace>` does, with SHA-512; the same input gives the same bytes.
 * @returns the binary signature; {@link armorSshsig} makes it readable for ssh-keygen.
 */
export function signSsh(key: SigningKey, namespace: string, message: Buffer): Buffer {
  assert(key.secretKey.length === SECRET_KEY_BYTES && namespace !== '');
  const signature = nacl.sign.detached(signedBytes(namespace, 'sha512', message), key.secretKey);
  return Buffer.concat([
    PREAMBLE,
    encodeString(encodeKey(key.publicKey)),
    encodeString(namespace),
    encodeString(''),
    encodeString('sha512'),
    encodeString(Buffer.concat([encodeString(KEY_TYPE), encodeString(signature)])),
  ]);
}

/** The text form that `ssh-keygen -Y verify -s` reads. */
export function armorSshsig(blob: Buffer): string {
  const lines = blob.toString('base64').match(new RegExp(`.{1,${ARMOR_COLUMNS}}`, 'g')) ?? [];
  return ['-----BEGIN SSH SIGNATURE-----', ...lines, '-----END SSH SIGNATURE-----', ''].join('\n');
}

/** @returns the signature in the text form of {@link armorSshsig}, else undefined. */
export function parseArmored(text: string): SshSignature | undefined {
  return parseSshsig(Buffer.from(text.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64'));
}

/**
 * The reserved field must be empty: it is signed, and we do not know what it means.
 * @returns undefined unless `blob` is exactly one Ed25519 signature of version 1. The buffers are views of
 * `blob`.
 */
export function parseSshsig(blob: Buffer): SshSignature | undefined {
  if (!blob.subarray(0, PREAMBLE.length).equals(PREAMBLE)) return undefined;
  const fields = splitStrings(blob.subarray(PREAMBLE.length), 5);
  if (fields === undefined) return undefined;
  const [key, namespace, reserved, algorithm, tail] = fields;
  const publicKey = parseTyped(key, PUBLIC_KEY_BYTES);
  const signature = parseTyped(tail, SIGNATURE_BYTES);
  const hashAlgorithm = algorithm?.toString('latin1');
  if (publicKey === undefined || signature === undefined || namespace === undefined) return undefined;
  if (namespace.length === 0 || !isUtf8(namespace) || reserved?.length !== 0) return undefined;
  if (hashAlgorithm !== 'sha256' && hashAlgorithm !== 'sha512') return undefined;
  return { publicKey, namespace: namespace.toString('utf8'), hashAlgorithm, signature };
}

/**
 * Whether the key in the signature signed this message for the namespace in the signature. The caller has to
 * check both, and before this call, which takes milliseconds of the event loop.
 */
export function isSignatureGood(parsed: SshSignature, message: Buffer): boolean {
  // tweetnacl throws on wrong lengths.
  if (parsed.publicKey.length !== PUBLIC_KEY_BYTES || parsed.signature.length !== SIGNATURE_BYTES)
    return false;
  if (!isScalarReduced(parsed.signature.subarray(PUBLIC_KEY_BYTES))) return false;
  const bytes = signedBytes(parsed.namespace, parsed.hashAlgorithm, message);
  return nacl.sign.detached.verify(bytes, parsed.signature, parsed.publicKey);
}

/**
 * RFC 8032 section 5.1.7 requires S below the group order, which tweetnacl does not check: otherwise anyone
 * can turn one good signature into another.
 */
function isScalarReduced(scalar: Buffer): boolean {
  return BigInt(`0x${Buffer.from(scalar.toReversed()).toString('hex')}`) < GROUP_ORDER;
}

/**
 * What Ed25519 signs: PROTOCOL.sshsig section 3. Its first bytes can't be those of an ssh login or
 * certificate.
 */
function signedBytes(namespace: string, algorithm: 'sha256' | 'sha512', message: Buffer): Buffer {
  return Buffer.concat([
    MAGIC,
    encodeString(namespace),
    encodeString(''),
    encodeString(algorithm),
    encodeString(hash(algorithm, message, 'buffer')),
  ]);
}

function encodeKey(publicKey: Buffer): Buffer {
  assert.equal(publicKey.length, PUBLIC_KEY_BYTES);
  return Buffer.concat([encodeString(KEY_TYPE), encodeString(publicKey)]);
}

/** RFC 4251 section 5 `string`: a 32-bit length, then the bytes. */
function encodeString(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** Exactly `count` strings that fill `bytes`, else undefined. */
function splitStrings(bytes: Buffer, count: number): Buffer[] | undefined {
  const strings: Buffer[] = [];
  let at = 0;
  while (strings.length < count) {
    if (bytes.length - at < 4) return undefined;
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) return undefined;
    strings.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return at === bytes.length ? strings : undefined;
}

/** The value of an Ed25519 key or signature: the key type, then `lengthBytes` bytes. */
function parseTyped(field: Buffer | undefined, lengthBytes: number): Buffer | undefined {
  const [type, value] = splitStrings(field ?? Buffer.alloc(0), 2) ?? [];
  return type?.toString('latin1') === KEY_TYPE && value?.length === lengthBytes ? value : undefined;
}
