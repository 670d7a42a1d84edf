import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { assertFailed, endInput, pipeInto, startOnInput, writeInput } from '../support/pipelines.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  KIB,
  MIB,
  assertEqualFiles,
  bounded,
  doneOf,
  eventsOf,
  runSender,
  startReceiver,
  until,
  type Receiver,
} from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const BLOCK = 64 * KIB;

interface Scene extends AsyncDisposable {
  readonly source: string;
  readonly bytes: Buffer;
  readonly target: string;
  readonly receiver: Receiver;
}

/** A source of random bytes whose third and fourth blocks are zero. */
async function scene(sizeBytes: number, options: { target?: string } = {}): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const source = join(folder.path, 'source');
  const target = options.target ?? join(folder.path, 'target');
  const bytes = prng(seed).bytes(sizeBytes);
  bytes.fill(0, Math.min(2 * BLOCK, sizeBytes), Math.min(4 * BLOCK, sizeBytes));
  await writeFile(source, bytes);
  const receiver = stack.use(await startReceiver({ folder: folder.path, target }));
  const owned = stack.move();
  return { source, bytes, target, receiver, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}

for (const sizeBytes of [1, BLOCK - 1, BLOCK, BLOCK + 1, 6 * BLOCK, 6 * BLOCK + 777, 3 * BLOCK + 5]) {
  test(`zcat | ddt-send: ${sizeBytes} bytes arrive equal, and the file has their size`, async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using the = await scene(sizeBytes);
    await runOk('gzip', ['-1', '--keep', the.source]);
    const done = doneOf(await pipeInto(the.receiver, 'zcat "$0.gz"', the.source));
    assert.equal(done.blocksTotal, Math.ceil(sizeBytes / BLOCK));
    assert.equal((await stat(the.target)).size, sizeBytes);
    await assertEqualFiles(the.source, the.target);
  });
}

test('while the pipe is open no total is shown, and the receiver reports no size', async () => {
  await using the = await scene(8 * BLOCK + 9);
  await using sender = await startOnInput(the.receiver);
  await writeInput(sender, the.bytes.subarray(0, 5 * BLOCK + 100));
  await until('blocks to be durable', async () => (await the.receiver.durableCount()) > 0);
  const status = await the.receiver.status();
  assert.deepEqual([status.state, status.size, status.blockCount], ['open', null, null]);
  assert((status.sizeMax ?? 0) >= 8 * BLOCK && (status.sizeMax ?? 1) % BLOCK === 0);
  assert.equal((await stat(the.target)).size, status.sizeMax);
  const root = `sha256:${'0'.repeat(64)}`;
  const body = Buffer.from(JSON.stringify({ blockCount: 5, root }));
  const sealing = await the.receiver.request('POST', '/complete', body);
  assert.equal(sealing.status, 409);
  assert.equal((JSON.parse(sealing.body.toString('utf8')) as { code: string }).code, 'size-unknown');
  await writeInput(sender, the.bytes.subarray(5 * BLOCK + 100));
  await endInput(sender);
  const ended = await bounded('the sender to end', sender.ended);
  doneOf(ended);
  const [first] = eventsOf(ended.stdout);
  assert.deepEqual(
    [first?.['blocksTotal'], first?.['bytesTotal'], first?.['secondsLeft']],
    [null, null, null],
  );
  assert.equal(eventsOf(ended.stdout).at(-2)?.['bytesTotal'], 8 * BLOCK + 9);
  await assertEqualFiles(the.source, the.target);
});

test('a redirected file and a named pipe are described as such, and arrive equal', async () => {
  await using the = await scene(5 * BLOCK + 3);
  const options = ['--ticket-file', the.receiver.ticketFile, '--block-size', '64KiB', '-'];
  const script = 'ddt=$1 source=$2; shift 2; "$ddt" "$@" <"$source"';
  const send = async (input: string): Promise<string> => {
    const ended = await run('sh', ['-c', script, 'sh', join('scripts', 'ddt-send'), input, ...options]);
    assert.equal(ended.status, 0, ended.stderr);
    return ended.stderr;
  };
  assert.match(await send(the.source), /^source {3}standard input: the file \S+source, size unknown$/m);
  await assertEqualFiles(the.source, the.target);
  const fifo = `${the.source}.fifo`;
  await runOk('mkfifo', [fifo]);
  const [told] = await Promise.all([send(fifo), runOk('cp', [the.source, fifo])]);
  assert.match(told, /^source {3}standard input: the named pipe \S+\.fifo, size unknown$/m);
  assert.match(told, new RegExp(`^size {5}standard input ended after ${5 * BLOCK + 3} bytes$`, 'm'));
});

test('a device takes a pipe that fits to the byte, and refuses a longer one', async (t) => {
  if (skipUnlessLoop !== false) return t.skip(skipUnlessLoop);
  const sizeBytes = 5 * BLOCK + 3 * 512;
  await using device = await loopDevice(sizeBytes);
  await using the = await scene(sizeBytes, { target: device.path });
  const longer = assertFailed(
    await pipeInto(the.receiver, 'cat "$0"; echo', the.source),
    4,
    'target-too-small',
  );
  assert.match(
    longer,
    /the target is too small: it can take 329216 bytes .*standard input continues after them$/m,
  );
  const done = doneOf(await pipeInto(the.receiver, 'cat "$0"', the.source));
  assert.equal(done.blocksTotal, 6);
  await assertEqualFiles(the.source, device.path);
});

test('a pipe smaller than the device leaves the rest of it unchanged', async (t) => {
  if (skipUnlessLoop !== false) return t.skip(skipUnlessLoop);
  await using device = await loopDevice(MIB);
  await using the = await scene(BLOCK + 100, { target: device.path });
  doneOf(await pipeInto(the.receiver, 'cat "$0"', the.source));
  await runOk('cmp', ['-n', String(BLOCK + 100), the.source, device.path]);
});

test('an empty pipe is refused, and nothing is claimed', async () => {
  await using the = await scene(1);
  const said = assertFailed(await pipeInto(the.receiver, 'true', the.source), 4, 'source-refused');
  assert.match(said, /^ddt-send: error: standard input is empty: the command before the pipe has failed/m);
  assert.equal((await the.receiver.status()).state, 'unclaimed');
  const done = doneOf(await pipeInto(the.receiver, 'true', the.source, '--source-size', '0'));
  assert.equal(done.blocksTotal, 0);
});

test('a terminal is refused at once', { skip: unlessInstalled('script') }, async () => {
  await using the = await scene(1);
  const command = `scripts/ddt-send --ticket-file ${the.receiver.ticketFile} -`;
  const { status, stdout } = await run('script', ['-qec', command, '/dev/null']);
  assert.match(stdout, /^ddt-send: error: standard input is a terminal: nothing is piped in\r$/m);
  assert.match(stdout, /^ddt-send: hint: zcat disk\.img\.gz \| ddt-send - '<ticket>'\r$/m);
  assert.equal(status, 2);
});

test('--source-size: an early end is an error, seals nothing, and the same pipe resumes', async () => {
  await using the = await scene(8 * BLOCK + 9);
  const size = ['--source-size', String(8 * BLOCK + 9)];
  const early = await pipeInto(the.receiver, 'head -c 300000 "$0"', the.source, ...size);
  const said = assertFailed(early, 5, 'source-size');
  assert.match(said, /error: standard input ended after 300000 bytes \(293\.0 KiB\), before the 524297 of/);
  const longer = await pipeInto(the.receiver, 'cat "$0"; echo', the.source, ...size);
  assert.match(assertFailed(longer, 5, 'source-size'), /continues after the 524297 bytes/);
  assert.equal((await the.receiver.status()).state, 'open');
  // Written blocks become durable a moment later, which the next run may or may not see.
  await the.receiver.request('POST', '/flush');
  const before = await the.receiver.durableCount();
  const done = doneOf(await pipeInto(the.receiver, 'cat "$0"', the.source, ...size));
  assert(before > 0 && done.blocksSkipped === before, `${done.blocksSkipped} of ${before}`);
  await assertEqualFiles(the.source, the.target);
  const { stderr, status } = await runSender(['--ticket-file', the.receiver.ticketFile, ...size, the.source]);
  assert.equal(status, 2, stderr);
});

test('a disk cannot resume the transfer of a pipe, nor a pipe that of a disk', async () => {
  await using the = await scene(BLOCK);
  doneOf(await pipeInto(the.receiver, 'cat "$0"', the.source));
  const disk = await runSender(['--progress', 'json', '--ticket-file', the.receiver.ticketFile, the.source]);
  assert.match(
    assertFailed(disk, 4, 'transfer-mismatch'),
    /its source is a pipe, this one is a disk or a file/,
  );
  await using other = await scene(BLOCK);
  doneOf(await runSender(['--progress', 'json', '--ticket-file', other.receiver.ticketFile, other.source]));
  const piped = await pipeInto(other.receiver, 'cat "$0"', other.source, '--block-size', '4MiB');
  assert.match(
    assertFailed(piped, 4, 'transfer-mismatch'),
    /its source is a disk or a file, this one is a pipe/,
  );
});
