/** Ed25519 (RFC 8032). The only importer of tweetnacl. */
import assert from 'node:assert/strict';
import nacl from 'tweetnacl';

export const PUBLIC_KEY_BYTES = 32;
export const SEED_BYTES = 32;
export const SIGNATURE_BYTES = 64;
const SECRET_KEY_BYTES = 64;
/** The order of the curve's base point, RFC 8032 section 5.1. */
const GROUP_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

export interface KeyPair {
  /** 32 bytes. */
  readonly publicKey: Buffer;
  /** 64 bytes as tweetnacl has it: seed, then public key. */
  readonly secretKey: Buffer;
}

/** @param seed the whole secret. */
export function keyPairOf(seed: Buffer): KeyPair {
  assert.equal(seed.length, SEED_BYTES);
  const pair = nacl.sign.keyPair.fromSeed(seed);
  return { publicKey: Buffer.from(pair.publicKey), secretKey: Buffer.from(pair.secretKey) };
}

/** The same input gives the same signature. */
export function signEd25519(message: Buffer, secretKey: Buffer): Buffer {
  assert.equal(secretKey.length, SECRET_KEY_BYTES);
  return Buffer.from(nacl.sign.detached(message, secretKey));
}

/** Takes milliseconds of the event loop. */
export function isEd25519Good(message: Buffer, signature: Buffer, publicKey: Buffer): boolean {
  // tweetnacl throws on wrong lengths.
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  if (!isScalarReduced(signature.subarray(PUBLIC_KEY_BYTES))) return false;
  return nacl.sign.detached.verify(message, signature, publicKey);
}

/**
 * RFC 8032 section 5.1.7 requires S below the group order, which tweetnacl does not check: otherwise anyone
 * can turn one good signature into another.
 */
function isScalarReduced(scalar: Buffer): boolean {
  return BigInt(`0x${Buffer.from(scalar.toReversed()).toString('hex')}`) < GROUP_ORDER;
}
