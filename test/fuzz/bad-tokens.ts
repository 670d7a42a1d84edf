/** Tokens that look good. */
import assert from 'node:assert/strict';
import { systemClock } from '../../common/clock.ts';
import { makeSigningKey, type SigningKey } from '../../common/trust/ssh-signature.ts';
import { mintToken, parseToken } from '../../common/trust/token.ts';

/** Expired, not valid yet, of another transfer or receiver, of another scope or key, changed. */
export function badTokensFor(token: string, key: SigningKey): string[] {
  const good = parseToken(token)?.payload;
  assert(good !== undefined);
  const now = Math.floor(systemClock.wallMs() / 1000);
  const changes = [
    { iat: 1, exp: now - 1 },
    { iat: now + 3600, exp: now + 7200 },
    { tid: 'aa1efd11-b91c-4de8-8fca-faa17d7f5801' },
    { aud: `sha256//${Buffer.alloc(32).toString('base64')}` },
    { scope: ['nothing'] },
  ];
  const signed = changes.map((change) => mintToken({ ...good, ...change }, key));
  const forged = mintToken(good, makeSigningKey(Buffer.alloc(32, 9)));
  const at = token.lastIndexOf('.') - 5;
  const changed = `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`;
  return [...signed, forged, changed, token.slice(0, -1), `${token}A`, token.toUpperCase()];
}
