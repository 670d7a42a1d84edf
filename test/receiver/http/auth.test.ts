import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../../common/errors.ts';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { mintToken, type TokenPayload } from '../../../common/trust/token.ts';
import { Authenticator } from '../../../receiver/http/auth.ts';
import { coded } from '../../support/coded.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const PIN = 'sha256//0s50zqcJYFAJvxw1R2yzjg7BvQEV0HNRkxJpBlJpNuM=';
const key = makeSigningKey(Buffer.alloc(32, 1));
const otherKey = makeSigningKey(Buffer.alloc(32, 2));
const START_SECONDS = 1_800_000_000;
const HOUR_SECONDS = 3600;

const good: TokenPayload = {
  v: 1,
  aud: PIN,
  tid: 'the-transfer',
  scope: ['write'],
  iat: START_SECONDS,
  exp: START_SECONDS + HOUR_SECONDS,
};

function open(clock = new FakeClock(START_SECONDS * 1000)): { auth: Authenticator; clock: FakeClock } {
  const options = { audience: PIN, transferId: 'the-transfer', trustedKeys: [key.publicKey], clock };
  return { auth: new Authenticator(options), clock };
}

function bearer(payload: Partial<TokenPayload> = {}, signer = key): string {
  return `Bearer ${mintToken({ ...good, ...payload }, signer)}`;
}

test('a good token is accepted on every request, with the scheme in any case', () => {
  const { auth } = open();
  for (let time = 0; time < 50; time++) auth.check(bearer(), 'write');
  auth.check(bearer().replace('Bearer ', 'bearer   '), 'write');
});

test('without a token it is missing, and anything but one whole token is invalid', () => {
  const { auth } = open();
  assert.throws(() => auth.check(undefined, 'write'), coded('token-missing'));
  const token = bearer();
  const spoilt = `${token.slice(0, -8)}${token.at(-8) === 'A' ? 'B' : 'A'}${token.slice(-7)}`;
  const wrong = [
    '',
    'Bearer',
    'Bearer ',
    'Basic eDp5',
    `${token}, ${token}`,
    `${token} x`,
    `${token}=`,
    spoilt,
  ];
  for (const text of [...wrong, token.slice(7), `Bearer ${'x'.repeat(5000)}`]) {
    assert.throws(
      () => auth.check(text, 'write'),
      coded('token-invalid', { hint: /the ticket/ }),
      text.slice(0, 20),
    );
  }
});

test('a token for another receiver, another transfer or of another key is invalid', () => {
  const { auth } = open();
  const others = [
    bearer({ aud: PIN.replace('0', '1') }),
    bearer({ tid: 'another' }),
    bearer({ tid: 'another' }, otherKey),
    bearer({}, otherKey),
    bearer({ iat: START_SECONDS + 61, exp: START_SECONDS + HOUR_SECONDS }),
  ];
  for (const text of others) assert.throws(() => auth.check(text, 'write'), coded('token-invalid'));
  auth.check(bearer({ iat: START_SECONDS + 60 }), 'write');
});

test('a token of an earlier transfer is named as such, and only if its signature is good', () => {
  const { auth } = open();
  const other = coded('token-invalid', { message: /earlier transfer/, hint: /printed last/ });
  for (const payload of [{}, { exp: START_SECONDS - 1, iat: START_SECONDS - 2 }, { scope: ['read'] }]) {
    const token = bearer({ tid: 'the-discarded-transfer', ...payload });
    for (let time = 0; time < 2; time++) assert.throws(() => auth.check(token, 'write'), other);
    const unsigned = `${token.slice(0, -8)}${token.at(-8) === 'A' ? 'B' : 'A'}${token.slice(-7)}`;
    const plain = coded('token-invalid', { message: /^the token is not valid here$/ });
    for (let time = 0; time < 2; time++) assert.throws(() => auth.check(unsigned, 'write'), plain);
  }
});

test('a token that does not allow writing is refused for its scope', () => {
  const { auth } = open();
  assert.throws(() => auth.check(bearer({ scope: ['read'] }), 'write'), coded('scope'));
  auth.check(bearer({ scope: ['read', 'write'] }), 'write');
});

test('a token that was accepted before expires to the second', async () => {
  const { auth, clock } = open();
  auth.check(bearer(), 'write');
  await clock.advance(HOUR_SECONDS * 1000 - 1);
  auth.check(bearer(), 'write');
  await clock.advance(1);
  assert.throws(() => auth.check(bearer(), 'write'), coded('token-expired', { hint: /prints a new ticket/ }));
});

/** A new token: the payload has another time, the signature is that of the first. */
function forged(serial: number): string {
  const [, payload = '', signature = ''] = bearer().split(/[.]/);
  const changed = JSON.parse(Buffer.from(payload, 'base64url').toString()) as TokenPayload;
  const bytes = Buffer.from(JSON.stringify({ ...changed, exp: changed.exp + 1 + serial }));
  return `Bearer ddt1.${bytes.toString('base64url')}.${signature}`;
}

test('only a few new signatures are checked a second; known tokens are accepted meanwhile', async () => {
  const { auth, clock } = open();
  auth.check(bearer(), 'write');
  for (let serial = 0; serial < 9; serial++) {
    assert.throws(() => auth.check(forged(serial), 'write'), coded('token-invalid'));
  }
  assert.throws(() => auth.check(forged(9), 'write'), coded('busy'));
  // Known tokens, good and bad, need no check, and neither do those that their payload refuses.
  auth.check(bearer(), 'write');
  assert.throws(() => auth.check(forged(0), 'write'), coded('token-invalid'));
  for (let serial = 0; serial < 100; serial++) {
    assert.throws(() => auth.check(bearer({ tid: `t${serial}` }, otherKey), 'write'), coded('token-invalid'));
  }
  await clock.advance(1000);
  assert.throws(() => auth.check(forged(9), 'write'), coded('token-invalid'));
});

test('any Authorization header is accepted or refused with a code', () => {
  const refusals = /^(token-missing|token-invalid|token-expired|scope|busy)$/;
  const { auth } = open();
  const token = bearer();
  const mutated = fc
    .tuple(fc.nat(token.length), fc.nat(token.length), fc.string({ maxLength: 5 }))
    .map(([from, to, text]) => token.slice(0, Math.min(from, to)) + text + token.slice(Math.max(from, to)));
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `Bearer ${text}`),
        mutated,
      ),
      (text) => {
        let outcome: unknown;
        try {
          auth.check(text, 'write');
        } catch (error) {
          outcome = error;
        }
        if (outcome === undefined) assert.equal(text.replace(/^Bearer +/i, ''), token.slice(7));
        else assert(outcome instanceof TransferError && refusals.test(outcome.code), text);
      },
    ),
    { numRuns: 2000 },
  );
});
