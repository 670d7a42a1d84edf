/** How digests are written, so that their algorithm can always be recognised. */
import type { DigestAlgorithm } from './digest.ts';

/** In JSON, in `?digest=` and in messages: as the commands sha256sum(1) and b3sum(1) call them. */
export const DIGEST_NAMES = { 'sha-256': 'sha256', blake3: 'blake3' } as const satisfies Record<
  DigestAlgorithm,
  string
>;

/** In an ETag and in the listing. Hexadecimal digits without a name are SHA-256. */
export function digestText(algorithm: DigestAlgorithm, digest: Buffer): string {
  const hex = digest.toString('hex');
  return algorithm === 'sha-256' ? hex : `${DIGEST_NAMES[algorithm]}:${hex}`;
}

/** A member of a digest field of RFC 9530. */
export function digestField(algorithm: DigestAlgorithm, digest: Buffer): string {
  return `${algorithm}=:${digest.toString('base64')}:`;
}

/** A member of a JSON response. */
export function digestMember(
  algorithm: DigestAlgorithm,
  digest: Buffer,
): { readonly sha256: string } | { readonly blake3: string } {
  const hex = digest.toString('hex');
  return algorithm === 'sha-256' ? { sha256: hex } : { blake3: hex };
}
