import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError } from '../../../common/errors.ts';
import type { Claim, LeftOut } from '../../../common/protocol/protocol.ts';
import { Activity, type Progress } from '../../../receiver/console/activity.ts';
import { makeLog, type AuditMembers } from '../../../receiver/console/log.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const MIB = 2 ** 20;
const MINUTE_MS = 60_000;
const CLAIM: Claim = {
  size: 1024 * MIB,
  blockSize: 4 * MIB,
  source: { description: 'ATA WDC WD10EZEX', path: '/dev/sdc', model: 'WD10EZEX', serial: 'WD-1' },
};
const AT = { epoch: 'e1', durableGeneration: 7 };
const ACTOR = { address: '203.0.113.9', tokenHash: '9f86d081884c7d65' };

interface Scene extends Disposable {
  readonly activity: Activity;
  readonly clock: FakeClock;
  /** Lines since the last call. */
  taken(): string[];
}

function scene(): Scene {
  const clock = new FakeClock();
  let lines: string[] = [];
  const log = {
    info: (message: string) => void lines.push(message),
    warning: (message: string) => void lines.push(`warning: ${message}`),
    audit: (message: string, { action, address, token }: AuditMembers) => {
      lines.push(action === 'refuse' ? `warning: ${message}` : `${action} ${address} ${token}: ${message}`);
    },
    bug: (error: unknown) => void lines.push(`bug: ${String(error)}`),
  };
  const activity = new Activity({ log, clock });
  const taken = (): string[] => {
    const before = lines;
    lines = [];
    return before;
  };
  return { activity, clock, taken, [Symbol.dispose]: () => activity[Symbol.dispose]() };
}

const request = (method: string, path: string, address = '203.0.113.9') => ({ method, path, address });
const badToken = new TransferError('token-invalid', 'the token is not valid here');

const LEFT_OUT: LeftOut = {
  bytes: 8192,
  count: 2,
  areas: [
    [4096, 4096],
    [16_384, 4096],
  ],
};

test('claims, seals and the like are logged with address, token, source and root', () => {
  using at = scene();
  at.activity.claimed('new', CLAIM, ACTOR);
  at.activity.claimed('same', CLAIM, { address: '2001:db8::7', tokenHash: '00ff' });
  const pipe = { ...CLAIM, source: { ...CLAIM.source, description: 'standard input', path: '' } };
  at.activity.claimed('new', { ...pipe, size: null }, ACTOR);
  at.activity.claimed('fixed', { ...pipe, size: 5 * MIB }, ACTOR);
  at.activity.claimed('resized', CLAIM, ACTOR);
  at.activity.sealed(256, 'sha256:00', { unreadable: [], leftOut: null }, ACTOR);
  at.activity.sealed(256, 'sha256:00', { unreadable: [[0, 512]], leftOut: LEFT_OUT }, ACTOR);
  at.activity.reopened(ACTOR);
  at.activity.verifying(ACTOR);
  const who = `${ACTOR.address} ${ACTOR.tokenHash}`;
  const by = `${ACTOR.address} (token ${ACTOR.tokenHash})`;
  assert.deepEqual(at.taken(), [
    `claim ${who}: claimed by ${by}: /dev/sdc, ATA WDC WD10EZEX, serial WD-1, 1 GiB`,
    'claim 2001:db8::7 00ff: ' +
      'claimed again by 2001:db8::7 (token 00ff): /dev/sdc, ATA WDC WD10EZEX, serial WD-1, 1 GiB',
    `claim ${who}: claimed by ${by}: standard input, of unknown size`,
    `claim ${who}: the pipe has ended: 5 MiB (5242880 bytes), claimed by ${by}`,
    `claim ${who}: the source has been resized: 1 GiB (1073741824 bytes), claimed by ${by}`,
    `seal ${who}: sealed by ${by}: 256 blocks, root sha256:00`,
    `seal ${who}: sealed by ${by}: ` +
      '256 blocks, root sha256:00, 512 bytes in 1 area of the source unreadable, ' +
      '8 KiB in 2 areas of the source left out by the sender',
    `reopen ${who}: reopened by ${by}: areas of the source that were unreadable may be sent now`,
    `verify ${who}: reading everything back again, asked by ${by}`,
  ]);
});

test('whose own key has signed the token is in the line and in its members, safe to show', () => {
  const lines: string[] = [];
  const clock = new FakeClock(0);
  using activity = new Activity({ log: makeLog('json', clock, (line) => lines.push(line)), clock });
  activity.claimed('new', CLAIM, { ...ACTOR, signer: 'alice\u202e,bob' });
  const { message, token, signer } = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  assert.deepEqual([token, signer], [ACTOR.tokenHash, 'alice?,bob']);
  assert.match(
    String(message),
    /^claimed by 203\.0\.113\.9 \(token 9f86d081884c7d65 signed by alice\?,bob\): /,
  );
});

test('a sender that is gone is logged after 5 s, and again when it is back', async () => {
  using at = scene();
  at.activity.senderConnected('203.0.113.9');
  at.activity.senderGone('203.0.113.9');
  await at.clock.advance(4999);
  at.activity.senderBack('203.0.113.9');
  await at.clock.advance(MINUTE_MS);
  assert.deepEqual(at.taken(), ['sender connected from 203.0.113.9'], 'a short gap is no absence');
  at.activity.senderGone('203.0.113.9');
  await at.clock.advance(5000);
  assert.deepEqual(at.taken(), ['sender at 203.0.113.9 disconnected']);
  await at.clock.advance(187_000);
  at.activity.senderBack('198.51.100.7');
  assert.deepEqual(at.taken(), ['sender back from 198.51.100.7 after 3 m 12 s']);
  at.activity.senderGone('198.51.100.7');
  at.activity.senderBack('203.0.113.9');
  assert.deepEqual(at.taken(), ['sender back from 203.0.113.9 after 0 s'], 'from another address');
});

test('a second run of a sender is another sender, and the first one is gone', async () => {
  using at = scene();
  at.activity.senderConnected('203.0.113.9');
  at.activity.senderGone('203.0.113.9');
  await at.clock.advance(1000);
  at.activity.senderConnected('203.0.113.9');
  await at.clock.advance(MINUTE_MS);
  const connected = 'sender connected from 203.0.113.9';
  assert.deepEqual(at.taken(), [connected, 'sender at 203.0.113.9 disconnected', connected]);
});

test('progress is logged once a minute, and only while something changes', async () => {
  using at = scene();
  let progress: Progress | undefined;
  let receivedBytes = 0;
  at.activity.watch(
    () => progress,
    () => receivedBytes,
  );
  await at.clock.advance(10 * MINUTE_MS);
  progress = { sizeBytes: 1024 * MIB, durableBytes: 0, verifiedBytes: 0 };
  await at.clock.advance(MINUTE_MS);
  assert.deepEqual(at.taken(), []);
  receivedBytes = 693 * MIB;
  progress = { ...progress, durableBytes: 422 * MIB, verifiedBytes: 396 * MIB };
  await at.clock.advance(MINUTE_MS);
  assert.deepEqual(at.taken(), [
    'progress: 41.2 % (422 MiB) durable, 38.6 % (396 MiB) verified of 1 GiB; receiving 96.9 Mbit/s',
  ]);
  // As much as a sender that only asks whether it is verified.
  receivedBytes += 50_000;
  await at.clock.advance(10 * MINUTE_MS);
  assert.deepEqual(at.taken(), []);
  progress = { ...progress, durableBytes: 1024 * MIB, verifiedBytes: 1024 * MIB - 1 };
  await at.clock.advance(2 * MINUTE_MS);
  assert.deepEqual(at.taken(), ['progress: 100.0 % (1 GiB) durable, 99.9 % (1.0 GiB) verified of 1 GiB']);
});

test('a slow line shows its rate before a block is through, a pipe shows bytes', async () => {
  using at = scene();
  let receivedBytes = 0;
  const progress = { sizeBytes: null, durableBytes: 0, verifiedBytes: null };
  at.activity.watch(
    () => progress,
    () => receivedBytes,
  );
  await at.clock.advance(MINUTE_MS / 2);
  receivedBytes = 3 * MIB;
  await at.clock.advance(MINUTE_MS / 2);
  assert.deepEqual(at.taken(), ['progress: 0 bytes durable; receiving 419 kbit/s']);
});

test('a flood of bad tokens from anywhere is one line a minute with a count', async () => {
  using at = scene();
  at.activity.watch(
    () => undefined,
    () => 0,
  );
  for (let stranger = 0; stranger < 10_000; stranger++) {
    const address = `2001:db8::${stranger.toString(16)}`;
    at.activity.refused(request('GET', '/transfer', address), badToken, AT);
  }
  const first = 'warning: refused GET /transfer from 2001:db8::0: the token is not valid here';
  assert.deepEqual(at.taken(), [first]);
  await at.clock.advance(MINUTE_MS);
  const last = 'warning: refused GET /transfer from 2001:db8::270f: the token is not valid here';
  const named = [1, 2, 3, 4, 5].map((stranger) => `2001:db8::${stranger} (1)`);
  const from = `${named.join(', ')}, others (9994)`;
  assert.deepEqual(at.taken(), [`${last} (9998 more in 1 m; from ${from})`]);
  await at.clock.advance(10 * MINUTE_MS);
  assert.deepEqual(at.taken(), []);
});

test('each kind of refusal has its own line, and what a client can correct has none', () => {
  using at = scene();
  const { activity } = at;
  const mismatch = new TransferError('transfer-mismatch', 'this target belongs to another transfer: …');
  activity.refused(request('GET', '/transfer'), badToken, AT);
  activity.refused(request('PUT', '/transfer'), mismatch, AT);
  const inUse = 'another ddt-send at 203.0.113.9 is sending';
  const waiting = request('GET', '/transfer', '198.51.100.7');
  activity.refused(waiting, new TransferError('in-use', inUse), AT);
  activity.refused(request('GET', '/blocks/7'), new TransferError('io-error', 'cannot read: EIO'), AT);
  for (const code of ['block-absent', 'digest-mismatch', 'incomplete', 'busy', 'draining'] as const) {
    activity.refused(request('PUT', '/blocks/7'), new TransferError(code, 'no'), AT);
  }
  // The end of the epoch is logged instead.
  activity.refused(request('PUT', '/blocks/7'), new TransferError('io-error', 'EIO'), AT);
  assert.deepEqual(at.taken(), [
    'warning: refused GET /transfer from 203.0.113.9: the token is not valid here',
    'warning: refused the claim of 203.0.113.9: this target belongs to another transfer: …',
    `warning: a sender at 198.51.100.7 has to wait: ${inUse}`,
    'warning: GET /blocks/7: cannot read: EIO',
  ]);
});

const full = new TransferError('no-space', 'block 7: cannot write: no space left on device');
const FULL = `warning: ${full.message}: free some space, and the transfer continues by itself`;

test('a full disk is logged when it fills up, once a minute, and when there is room again', async () => {
  using at = scene();
  at.activity.watch(
    () => undefined,
    () => 0,
  );
  const fail = (): void => at.activity.refused(request('PUT', '/blocks/7'), full, AT);
  fail();
  for (let time = 0; time < 30; time++) {
    await at.clock.advance(1000);
    fail();
    at.activity.durable(AT);
  }
  assert.deepEqual(at.taken(), [FULL], 'nothing has become durable since');
  await at.clock.advance(MINUTE_MS);
  assert.deepEqual(at.taken(), [`${FULL} (29 more in 1 m)`]);
  await at.clock.advance(5000);
  at.activity.durable({ ...AT, durableGeneration: 8 });
  at.activity.durable({ ...AT, durableGeneration: 9 });
  assert.deepEqual(at.taken(), ['there is room again after 1 m 35 s']);
});

test('a disk that is full for some blocks only does not fill the log', async () => {
  using at = scene();
  for (let generation = 1; generation <= 1000; generation++) {
    at.activity.refused(request('PUT', '/blocks/7'), full, { ...AT, durableGeneration: generation });
    at.activity.durable({ ...AT, durableGeneration: generation + 1 });
    await at.clock.advance(10);
  }
  assert.deepEqual(at.taken(), [FULL, 'there is room again after 0 s']);
});

test('a target that fails is logged at once, and when it works again', async () => {
  using at = scene();
  const eio = new TransferError('io-error', 'cannot flush /dev/vdd: input/output error');
  at.activity.targetFailed(eio, 16);
  at.activity.targetFailed(eio, 8);
  at.activity.durable({ epoch: 'e2', durableGeneration: 0 });
  await at.clock.advance(12_000);
  at.activity.durable({ epoch: 'e2', durableGeneration: 3 });
  assert.deepEqual(at.taken(), [
    `warning: ${eio.message}; 16 blocks that were not flushed yet will be sent again`,
    'the target works again after 12 s',
  ]);
});

test('nothing is left to wait for once it is disposed', async () => {
  const at = scene();
  at.activity.watch(
    () => undefined,
    () => 0,
  );
  at.activity.senderGone('203.0.113.9');
  assert.equal(at.clock.sleeperCount, 2);
  at[Symbol.dispose]();
  await at.clock.advance(10 * MINUTE_MS);
  assert.deepEqual([at.clock.sleeperCount, at.taken()], [0, []]);
});
