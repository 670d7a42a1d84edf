/** Tokens that users have signed with their own keys. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AllowedSigner } from '../../../common/trust/allowed-signers.ts';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { mintToken, type TokenPayload } from '../../../common/trust/token.ts';
import { Authenticator } from '../../../receiver/http/auth.ts';
import { coded } from '../../support/coded.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { RsaUser } from '../../support/software-keys.ts';

const PIN = 'sha256//0s50zqcJYFAJvxw1R2yzjg7BvQEV0HNRkxJpBlJpNuM=';
const START_SECONDS = 1_800_000_000;
const HOUR_SECONDS = 3600;
const key = makeSigningKey(Buffer.alloc(32, 1));
const user = new RsaUser();
const good: TokenPayload = {
  v: 1,
  aud: PIN,
  tid: 'the-transfer',
  scope: ['write'],
  iat: START_SECONDS,
  exp: START_SECONDS + 24 * HOUR_SECONDS,
};
const invalid = coded('token-invalid', { message: /^the token is not valid here$/ });

function open(...signers: readonly Partial<AllowedSigner>[]): { auth: Authenticator; clock: FakeClock } {
  const clock = new FakeClock(START_SECONDS * 1000);
  const always = {
    principals: 'alice',
    publicKey: user.publicKey,
    validAfter: undefined,
    validBefore: undefined,
  };
  const auth = new Authenticator({
    audience: PIN,
    transferId: 'the-transfer',
    trustedKeys: [key.publicKey],
    signers: signers.map((signer) => ({ ...always, ...signer })),
    clock,
  });
  return { auth, clock };
}

function bearer(changes: Partial<TokenPayload> = {}): string {
  return `Bearer ${user.token({ ...good, ...changes })}`;
}

test('a token by an allowed signer is accepted in their name, for its own scope and transfer', () => {
  const { auth } = open({});
  assert.deepEqual(auth.check(bearer(), 'write').signer, 'alice');
  const reading = bearer({ scope: ['read'] });
  assert.equal(auth.check(reading, 'read').isWriter, false);
  assert.throws(() => auth.check(reading, 'write'), coded('scope'));
  assert.throws(() => auth.check(bearer({ aud: PIN.replace('0', '1') }), 'write'), invalid);
  assert.throws(() => auth.check(bearer({ tid: 'another' }), 'write'), coded('token-invalid'));
  assert.throws(() => auth.check(bearer({ exp: START_SECONDS, iat: 1 }), 'write'), coded('token-expired'));
  const own = auth.check(`Bearer ${mintToken(good, key)}`, 'write');
  assert.equal(own.signer, undefined, "the receiver's own key still signs tokens");
});

test('a key counts from its first second to its last, also for a token that was accepted', async () => {
  const [validAfter, validBefore] = [START_SECONDS + 10, START_SECONDS + 20];
  const { auth, clock } = open({ validAfter, validBefore });
  const token = bearer();
  assert.throws(() => auth.check(token, 'write'), invalid);
  await clock.advance(10_000);
  auth.check(token, 'write');
  await clock.advance(10_999);
  auth.check(token, 'write');
  await clock.advance(1);
  assert.throws(() => auth.check(token, 'write'), invalid);
});

test('of several lines with one key, the first that is valid names the signer', () => {
  const { auth } = open({ principals: 'old', validBefore: START_SECONDS - 1 }, { principals: 'new' }, {});
  assert.equal(auth.check(bearer(), 'write').signer, 'new');
});

/** The payload has another time, the signature is that of the first. */
function forged(serial: number): string {
  const [, , signature = ''] = bearer().split('.');
  const bytes = Buffer.from(JSON.stringify({ ...good, exp: good.exp + 1 + serial }));
  return `Bearer ddt1.${bytes.toString('base64url')}.${signature}`;
}

test('signatures of users are limited, too, and those of others are not even computed', async () => {
  const { auth, clock } = open({});
  auth.check(bearer(), 'write');
  for (let serial = 0; serial < 9; serial++)
    assert.throws(() => auth.check(forged(serial), 'write'), invalid);
  assert.throws(() => auth.check(forged(9), 'write'), coded('busy'));
  assert.throws(() => auth.check(`Bearer ${mintToken(good, key)}`, 'write'), coded('busy'), 'one limit');
  auth.check(bearer(), 'write');
  const stranger = new RsaUser();
  for (let serial = 0; serial < 100; serial++) {
    const token = `Bearer ${stranger.token({ ...good, exp: good.exp + serial })}`;
    assert.throws(() => auth.check(token, 'write'), invalid);
  }
  await clock.advance(1000);
  assert.throws(() => auth.check(forged(9), 'write'), invalid);
});
