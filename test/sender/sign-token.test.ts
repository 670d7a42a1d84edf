/** Tokens that the real ssh-keygen has signed, as a receiver checks them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkToken, isTokenSignatureGood, parseToken } from '../../common/trust/token.ts';
import { signToken } from '../../sender/sign-token.ts';
import { unlessInstalled } from '../support/requires.ts';
import { makeSshKey, publicLine } from '../support/ssh-keygen.ts';
import { tempDir } from '../support/temp-dir.ts';

const TICKET = {
  origin: 'https://203.0.113.7:8443',
  host: '203.0.113.7',
  port: 8443,
  pin: `sha256//${Buffer.alloc(32, 0xfb).toString('base64')}`,
  transferId: 'aa1efd11-b91c-4de8-8fca-faa17d7f5801',
  receiver: 'SHA256:YNldUSPPNy/OBnSfUrmSG5m+2hNZGLKgoEtQxnmFyXk',
};
const NOW_SECONDS = 1_800_000_000;
const HOUR_SECONDS = 3600;
const DAY_SECONDS = 24 * HOUR_SECONDS;
const skip = unlessInstalled('ssh-keygen');

/** The last one makes the longest tokens. */
const TYPES: readonly (readonly [string, ...string[]])[] = [['ed25519'], ['rsa', '-b', '4096']];

for (const type of TYPES) {
  test(
    `a token by ${type.join(' ')} is for its receiver and transfer, also where clocks differ`,
    { skip },
    async () => {
      await using folder = await tempDir();
      const identity = await makeSshKey(join(folder.path, 'id'), ...type);
      const asked: string[] = [];
      const ticket = await signToken(TICKET, {
        identity,
        nowSeconds: NOW_SECONDS,
        onRequest: (text) => asked.push(text),
      });
      const { transferId, receiver, ...place } = TICKET;
      assert.deepEqual(ticket, { ...place, receiver, token: ticket.token });
      assert.deepEqual(asked, []);
      const token = parseToken(ticket.token);
      assert(token !== undefined && isTokenSignatureGood(token));
      const trustedKeys = [Buffer.from((await publicLine(identity)).split(' ')[1] ?? '', 'base64')];
      const at = (nowSeconds: number): ReturnType<typeof checkToken> =>
        checkToken(token, { audience: TICKET.pin, transferId, trustedKeys, nowSeconds, scope: 'write' });
      for (const seconds of [-HOUR_SECONDS, 0, 30 * DAY_SECONDS - 1])
        assert.equal(at(NOW_SECONDS + seconds), undefined, `${seconds} s`);
      assert.equal(at(NOW_SECONDS - HOUR_SECONDS - 61), 'token-invalid');
      assert.equal(at(NOW_SECONDS + 30 * DAY_SECONDS), 'token-expired');
    },
  );
}
