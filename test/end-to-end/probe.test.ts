/** `--probe`: the rates of line and disks, and nothing else. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { PROBE_BYTES_MAX } from '../../common/protocol/protocol.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { prng } from '../support/prng.ts';
import { MIB, SCRIPTS, eventsOf, runSender, sha256sum, startReceiver } from '../support/processes.ts';
import { startReceiverApp, type Lie } from '../support/receiver-app.ts';
import { run } from '../support/run.ts';
import { tempDir, type TempDir } from '../support/temp-dir.ts';

async function sourceIn(folder: TempDir): Promise<string> {
  const path = join(folder.path, 'source');
  await writeFile(path, prng(11).bytes(64 * MIB));
  return path;
}

test('line and disks are measured, and the target stays as it is', { skip: skipUnlessLoop }, async () => {
  await using folder = await tempDir();
  const source = await sourceIn(folder);
  await using target = await loopDevice(64 * MIB);
  await writeFile(target.path, prng(12).bytes(64 * MIB));
  const before = await sha256sum(target.path);
  const options = ['--overwrite-target'];
  await using receiver = await startReceiver({ folder: folder.path, target: target.path, options });
  const text = await runSender(['--probe', source, receiver.ticket]);
  assert.equal(text.status, 3, text.stderr);
  assert.match(text.stderr, /^source {3}.*\ntarget {3}.*\nprobe {4}measuring for ten seconds; nothing is /);
  const rate = String.raw`[\d.]+ [MG]iB\/s`;
  const form = [
    String.raw`line {5}[\d.]+ [MG]bit\/s with 16 connections, round trip [\d.]+ ms`,
    String.raw`reading {2}source (${rate}|not measured), target (${rate}|not measured)`,
    String.raw`probe {4}64 MiB in about \d+ s: the \w+ is the limit; .*; nothing was written`,
  ];
  assert.match(text.stdout, new RegExp(`^${form.join('\n')}\n$`));
  const limited = ['--probe', '--bwlimit', '1M', '--connections', '3', '--progress', 'json'];
  const { stdout, status } = await runSender([...limited, source, receiver.ticket]);
  assert.equal(status, 3);
  const [facts] = eventsOf(stdout);
  const { lineBytesPerSecond, bytesTotal, connections, limit, secondsEstimated } = facts ?? {};
  assert.deepEqual([bytesTotal, connections, limit], [64 * MIB, 3, 'line']);
  assert(Number(lineBytesPerSecond) > 0.8 * MIB && Number(lineBytesPerSecond) < 1.3 * MIB, stdout);
  assert(Number(secondsEstimated) > 49 && Number(secondsEstimated) < 80, stdout);
  assert.equal((await receiver.status()).state, 'unclaimed');
  assert.equal(await sha256sum(target.path), before);
});

test('a receiver of an earlier version is named, and a pipe is refused', async () => {
  await using folder = await tempDir();
  const source = await sourceIn(folder);
  const lie: Lie = ({ path }) =>
    path.startsWith('/probe')
      ? Promise.resolve(Response.json({ code: 'not-found' }, { status: 404 }))
      : undefined;
  await using app = await startReceiverApp({ blockCount: null, lie });
  const { status, stdout, stderr } = await runSender(['--probe', source, app.ticket]);
  assert.deepEqual([status, stdout], [4, ''], stderr);
  assert.match(stderr, /error: the receiver is of an earlier version, which cannot be probed$/m);
  const piped = await run('sh', ['-c', `echo | ${SCRIPTS}/ddt-send --probe - '${app.ticket}'`]);
  assert.equal(piped.status, 2);
  assert.match(piped.stderr, /error: --probe is for disks and files, not for standard input/);
});

test('a body for nothing is counted, and none is longer than a block', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const sent = await app.request('POST', '/probe', { body: Buffer.alloc(PROBE_BYTES_MAX, 1) });
  assert.deepEqual([sent.status, sent.json()], [200, { bytes: PROBE_BYTES_MAX }]);
  const long = await app.request('POST', '/probe', { body: Buffer.alloc(PROBE_BYTES_MAX + 1) });
  assert.deepEqual([long.status, long.code], [413, 'too-large']);
  const none = await app.request('POST', '/probe', { body: '', token: null });
  assert.deepEqual([none.status, none.code], [401, 'token-missing']);
  const reader = app.mint({ scope: ['read'] });
  assert.equal((await app.request('POST', '/probe', { body: '', token: reader })).code, 'scope');
  // A file in memory: it takes its place when it is written.
  assert.deepEqual((await app.request('POST', '/probe/target')).json(), { bytes: 0, ms: 0 });
  assert.equal((await app.request('POST', '/probe/target', { token: reader })).code, 'scope');
  assert.equal((await app.request('GET', '/transfer')).json()['state'], 'unclaimed');
});
