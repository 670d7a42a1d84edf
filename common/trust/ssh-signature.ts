/**
 * Signatures in OpenSSH's file signature format (openssh-portable PROTOCOL.sshsig), so that `ssh-keygen -Y`
 * makes and checks them without this program. Made with Ed25519 only; checked for every kind of key that
 * ssh-keys.ts knows.
 */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { hash, randomBytes } from 'node:crypto';
import { keyPairOf, SEED_BYTES, signEd25519 } from './ed25519.ts';
import { ED25519, isSignatureOf, isSignedBy, parseKey } from './ssh-keys.ts';
import { encodeString, splitStrings } from './ssh-wire.ts';

export { SEED_BYTES } from './ed25519.ts';

const MAGIC = Buffer.from('SSHSIG');
const PREAMBLE = Buffer.concat([MAGIC, Buffer.from([0, 0, 0, 1])]);
/** ssh-keygen breaks its base64 lines here; it reads any length. */
const ARMOR_COLUMNS = 70;

export interface SigningKey {
  /** As ssh has it: the type, then the 32 bytes of Ed25519. */
  readonly publicKey: Buffer;
  /** 64 bytes as tweetnacl has it: seed, then public key. */
  readonly secretKey: Buffer;
}

export interface SshSignature {
  /** As in {@link SigningKey}, of any type that ssh-keys.ts knows. */
  readonly publicKey: Buffer;
  /** What the signature is for; never empty. A verifier must compare it with its own. */
  readonly namespace: string;
  readonly hashAlgorithm: 'sha256' | 'sha512';
  /** The name of the algorithm, then its bytes. */
  readonly signature: Buffer;
}

/** @param seed the whole secret, 32 bytes; random by default. */
export function makeSigningKey(seed: Buffer = randomBytes(SEED_BYTES)): SigningKey {
  const { publicKey, secretKey } = keyPairOf(seed);
  return { publicKey: Buffer.concat([encodeString(ED25519), encodeString(publicKey)]), secretKey };
}

/** A line as in `id_ed25519.pub`, without a line break. */
export function publicKeyLine(publicKey: Buffer, comment: string): string {
  assert(!/[\r\n]/.test(comment), 'a comment of one line');
  const key = parseKey(publicKey);
  assert(key !== undefined, 'a key');
  return `${key.type} ${publicKey.toString('base64')} ${comment}`.trimEnd();
}

/** `SHA256:` and unpadded base64, as `ssh-keygen -lf` prints it. */
export function fingerprintOf(publicKey: Buffer): string {
  return `SHA256:${hash('sha256', publicKey, 'base64').replace(/=+$/, '')}`;
}

/** Whether it is a key as receivers have: Ed25519, not of a security key. */
export function isEd25519(publicKey: Buffer): boolean {
  return parseKey(publicKey)?.type === ED25519;
}

/** As {@link fingerprintOf}, of a line as in `id_ed25519.pub`; undefined if it is not one. */
export function fingerprintOfLine(line: string): string | undefined {
  const [type, base64 = ''] = line.trim().split(/\s+/);
  const publicKey = Buffer.from(base64, 'base64');
  const isKey = type === ED25519 && isEd25519(publicKey) && publicKey.toString('base64') === base64;
  return isKey ? fingerprintOf(publicKey) : undefined;
}

/** Whether it is what {@link fingerprintOf} gives. */
export function isFingerprint(text: string): boolean {
  const [, base64] = /^SHA256:([A-Za-z0-9+/]{43})$/.exec(text) ?? [];
  return base64 !== undefined && Buffer.from(base64, 'base64').toString('base64') === `${base64}=`;
}

/**
 * Signs as `ssh-keygen -Y sign -n <namespace>` does, with SHA-512; the same input gives the same bytes.
 * @returns the binary signature; {@link armorSshsig} makes it readable for ssh-keygen.
 */
export function signSsh(key: SigningKey, namespace: string, message: Buffer): Buffer {
  assert(namespace !== '', 'a namespace');
  const signature = signEd25519(signedBytes(namespace, 'sha512', message), key.secretKey);
  return Buffer.concat([
    PREAMBLE,
    encodeString(key.publicKey),
    encodeString(namespace),
    encodeString(''),
    encodeString('sha512'),
    encodeString(Buffer.concat([encodeString(ED25519), encodeString(signature)])),
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
 * @returns undefined unless `blob` is exactly one signature of version 1. The buffers are views of `blob`.
 */
export function parseSshsig(blob: Buffer): SshSignature | undefined {
  if (!blob.subarray(0, PREAMBLE.length).equals(PREAMBLE)) return undefined;
  const fields = splitStrings(blob.subarray(PREAMBLE.length)) ?? [];
  const [publicKey, namespace, reserved, algorithm, signature] = fields;
  if (fields.length !== 5 || publicKey === undefined || signature === undefined) return undefined;
  const key = parseKey(publicKey);
  if (key === undefined || !isSignatureOf(key, signature)) return undefined;
  if (namespace === undefined || namespace.length === 0 || !isUtf8(namespace)) return undefined;
  const hashAlgorithm = algorithm?.toString('latin1');
  if (reserved?.length !== 0 || (hashAlgorithm !== 'sha256' && hashAlgorithm !== 'sha512')) return undefined;
  return { publicKey, namespace: namespace.toString('utf8'), hashAlgorithm, signature };
}

/**
 * Whether the key in the signature signed this message for the namespace in the signature. The caller has to
 * check both, and before this call, which takes milliseconds of the event loop.
 */
export function isSignatureGood(parsed: SshSignature, message: Buffer): boolean {
  const key = parseKey(parsed.publicKey);
  if (key === undefined) return false;
  return isSignedBy(key, parsed.signature, signedBytes(parsed.namespace, parsed.hashAlgorithm, message));
}

/**
 * What is signed: PROTOCOL.sshsig section 3. Its first bytes can't be those of an ssh login or
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
