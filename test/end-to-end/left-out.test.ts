/** Copies that leave areas of the source out: the target, the receipt, and what later runs do. */
import assert from 'node:assert/strict';
import { glob, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  KIB,
  MIB,
  assertEqualFiles,
  doneOf,
  eventsOf,
  runReceiver,
  runSender,
  startReceiver,
  startSender,
  until,
  type Receiver,
} from '../support/processes.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { tempDir } from '../support/temp-dir.ts';

const SIZE = 4 * MIB + 1000;
const BLOCK = ['--block-size', '64KiB'];
const JSON_EVENTS = ['--progress', 'json'];
/** Whole blocks, parts of blocks, and the end. */
const LEFT_OUT = [
  [128 * KIB, 192 * KIB],
  [MIB + 8 * KIB, 16 * KIB],
  [3 * MIB, SIZE - 3 * MIB],
] as const;
const BYTES = LEFT_OUT.reduce((sum, [, length]) => sum + length, 0);

interface Scene extends AsyncDisposable {
  readonly at: (name: string) => string;
  readonly bytes: Buffer;
  readonly folder: string;
}

/** A source of random bytes, the map of what is copied of it, and what the target should be. */
async function scene(): Promise<Scene> {
  const folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  const bytes = prng(freshSeed()).bytes(SIZE);
  await writeFile(at('source'), bytes);
  await writeFile(at('map'), mapOf(LEFT_OUT));
  await writeFile(at('expected'), withZeros(bytes, LEFT_OUT));
  return {
    at,
    bytes,
    folder: folder.path,
    [Symbol.asyncDispose]: async () => await folder[Symbol.asyncDispose](),
  };
}

type Areas = readonly (readonly [number, number])[];

function mapOf(leftOut: Areas): string {
  const lines = ['0 ? 1'];
  let end = 0;
  for (const [offset, length] of leftOut) {
    if (offset > end) lines.push(`${end} ${offset - end} +`);
    lines.push(`${offset} ${length} ?`);
    end = offset + length;
  }
  if (end < SIZE) lines.push(`${end} ${SIZE - end} +`);
  return `${lines.join('\n')}\n`;
}

function withZeros(bytes: Buffer, leftOut: Areas): Buffer {
  const copy = Buffer.from(bytes);
  for (const [offset, length] of leftOut) copy.fill(0, offset, offset + length);
  return copy;
}

test('what a domain mapfile leaves out is zeros, and receipt, result and log say so', async () => {
  await using all = await scene();
  const { at, folder } = all;
  // What the target held there must not stay.
  await writeFile(at('target'), Buffer.alloc(SIZE, 0xa5));
  const options = ['--overwrite-target'];
  await using receiver = await startReceiver({ folder, target: at('target'), options });
  const to = [...BLOCK, '--ticket-file', receiver.ticketFile, at('source')];
  const map = ['--domain-mapfile', at('map')];
  const sending = await runSender([...to, ...map, ...JSON_EVENTS, '--receipt', at('receipt')]);
  assert.equal(sending.status, 0, sending.stderr);
  await assertEqualFiles(at('expected'), at('target'));
  const leftOut = { bytes: BYTES, count: 3, areas: LEFT_OUT };
  assert.deepEqual(eventsOf(sending.stdout).at(-1)?.['leftOut'], leftOut);
  const receipt = JSON.parse(await readFile(at('receipt'), 'utf8')) as Record<string, unknown>;
  assert.deepEqual(receipt['leftOut'], leftOut);
  assert.match(
    sending.stderr,
    /^omitted {2}1\.2 MiB in 3 areas of .*source, not read: zeros on the target$/m,
  );
  const printed = await runReceiver(['--check-receipt', at('receipt'), at('target')]);
  assert.equal(printed.status, 0, printed.stderr);
  assert.match(printed.stdout, /^omitted {2}1\.2 MiB in 3 areas of the source were left out: zeros here$/m);

  const equal = await runSender([...to, ...map, '--check']);
  assert.equal(equal.status, 0, equal.stderr);
  assert.match(
    equal.stdout,
    /^omitted {2}1\.2 MiB in 3 areas of the source were not read: zeros on the target$/m,
  );
  const whole = await runSender([...to, '--check']);
  assert.equal(whole.status, 3, whole.stderr);
  assert.match(
    whole.stderr,
    /^note {5}areas of the source were left out of this copy before; this run reads/m,
  );
  assert.match(whole.stdout, /^differs {2}21 of 65 blocks of the source are not what was sealed/m);
  const { stderr } = await receiver.end('SIGTERM');
  assert.match(stderr, /sealed by .* root sha256:[0-9a-f]+, 1\.2 MiB in 3 areas of the source left out by/);

  await receiver.start({ options: ['--update'] });
  const updated = doneOf(await runSender([...to, ...JSON_EVENTS]));
  assert.deepEqual([updated.blocksSkipped, 'leftOut' in updated], [44, false]);
  await assertEqualFiles(at('source'), at('target'));
  const [second] = await Array.fromAsync(glob(join(receiver.stateDir, '*/receipt-2.json')));
  const json = JSON.parse(await readFile(second ?? '', 'utf8')) as Record<string, unknown>;
  assert.deepEqual([json['leftOut'], json['generation']], [null, 2]);
});

test('a killed run resumes with another map, or without one', async () => {
  await using all = await scene();
  const { at, bytes, folder } = all;
  const other = [[MIB, MIB]] as const;
  await writeFile(at('other'), mapOf(other));
  await writeFile(at('expected-other'), withZeros(bytes, other));
  await using receiver = await startReceiver({ folder, target: at('target') });
  const to = [...BLOCK, '--ticket-file', receiver.ticketFile, at('source')];
  const first = await startSender([...to, '--domain-mapfile', at('map'), '--bwlimit', '1M']);
  await until('some blocks are durable', async () => (await presentCount(receiver)) > 8);
  first.kill('SIGKILL');
  await first.ended;
  const second = await runSender([...to, '--domain-mapfile', at('other'), '--keep-open', ...JSON_EVENTS]);
  assert.equal(second.status, 3, second.stderr);
  await assertEqualFiles(at('expected-other'), at('target'));
  assert.deepEqual(eventsOf(second.stdout).at(-1)?.['leftOut'], { bytes: MIB, count: 1, areas: other });
  const third = await runSender([...to, ...JSON_EVENTS]);
  assert.equal(third.status, 0, third.stderr);
  await assertEqualFiles(at('source'), at('target'));
  assert.equal('leftOut' in (eventsOf(third.stdout).at(-1) ?? {}), false);
});

test('a sealed copy that left out something else is no proof of what this run leaves out', async () => {
  await using all = await scene();
  const { at, bytes, folder } = all;
  // Zeros in the source: with or without them the root is the same.
  await writeFile(at('source'), Buffer.from(bytes).fill(0, 2 * MIB, 3 * MIB));
  await writeFile(at('other'), mapOf([[2 * MIB, MIB]]));
  await using receiver = await startReceiver({ folder, target: at('target') });
  const to = [...BLOCK, '--ticket-file', receiver.ticketFile, at('source')];
  assert.equal((await runSender(to)).status, 0);
  for (const more of [[], ['--check']]) {
    const ended = await runSender([...to, '--domain-mapfile', at('other'), ...more]);
    assert.equal(ended.status, 3, ended.stderr);
    assert.match(
      ended.stderr,
      /warning: this run has left out 1 MiB in 1 area of .*source, and the receipt says nothing was\n/,
    );
  }
});

test('a map is refused before anything is claimed, and a pipe has none', async () => {
  await using all = await scene();
  const { at, folder } = all;
  await writeFile(at('long'), `0 ?\n0 ${SIZE + 512} +\n`);
  await using receiver = await startReceiver({ folder, target: at('target') });
  const to = ['--ticket-file', receiver.ticketFile];
  const long = await runSender([...to, '--domain-mapfile', at('long'), at('source')]);
  assert.equal(long.status, 2);
  assert.match(
    long.stderr,
    /error: cannot use the mapfile .*long: it reaches to 4195816, but the source has /,
  );
  const file = await runSender([...to, '--used-only', at('source')]);
  assert.equal(file.status, 2);
  assert.match(
    file.stderr,
    /error: --used-only is for block devices, and .*source is a file\n.*hint: losetup /,
  );
  assert.equal((await receiver.status()).state, 'unclaimed');
});

/** Blocks that the target has, read back or not. */
async function presentCount(receiver: Receiver): Promise<number> {
  const { durable, verified } = (await receiver.status()).blocks;
  return durable + verified;
}
