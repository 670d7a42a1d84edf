/** `ddt-send --steered`, with this test in place of the ddt-fleet that starts it. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FLEET_SILENCE_MS_MAX, fleetLine, type FleetLine } from '../../common/fleet-lines.ts';
import { writeReceiptFiles } from '../../common/io/receipt-files.ts';
import { readReceipt } from '../../common/receipt/signed-receipt.ts';
import { prng } from '../support/prng.ts';
import {
  KIB,
  MIB,
  bounded,
  eventsOf,
  runSender,
  startReceiver,
  startSender,
  type Receiver,
} from '../support/processes.ts';
import type { Started } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const RECEIPT = /^\{"event":"receipt",.*$/;

interface Scene extends AsyncDisposable {
  readonly folder: string;
  readonly receiver: Receiver;
  start(first: FleetLine, ...more: readonly string[]): Promise<Started>;
}

async function makeScene(bytes: number): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(await tempDir());
  const source = join(folder, 'source');
  await writeFile(source, prng(1).bytes(bytes));
  const receiver = stack.use(await startReceiver({ folder, target: join(folder, 'target') }));
  const owned = stack.move();
  return {
    folder,
    receiver,
    start: async (first, ...more) => {
      const words = ['--steered', '--progress', 'json', ...more, source, receiver.ticket];
      const sender = owned.use(await startSender(words));
      sender.stdin.write(fleetLine(first));
      return sender;
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

test('it hands the receipt over, and exits with 0 only when that is kept', async () => {
  await using scene = await makeScene(3 * MIB);
  const sender = await scene.start({ limit: null }, '--block-size', '64KiB');
  const [line] = await sender.waitForLine(RECEIPT);
  assert(sender.isRunning);
  assert.equal(JSON.parse(line).status, 0);
  sender.stdin.write(fleetLine({ isReceiptKept: true }));
  const { status, stdout, stderr } = await bounded('the sender', sender.ended);
  assert.equal(status, 0, stderr);
  const events = eventsOf(stdout);
  const digests = events.flatMap(({ base64 }) => (typeof base64 === 'string' ? [base64] : []));
  const { json, signature } = events.at(-1) as { json: string; signature: string };
  const path = join(scene.folder, 'receipt.json');
  const bytes = Buffer.concat(digests.map((text) => Buffer.from(text, 'base64')));
  await writeReceiptFiles(path, { json, signature, digests: bytes });
  assert.equal((await readReceipt(path)).receipt.blockCount, 48);
});

test('it is interrupted when nobody takes the receipt, and hands it over again in the next run', async () => {
  await using scene = await makeScene(MIB);
  const first = await scene.start({ limit: null });
  await first.waitForLine(RECEIPT);
  first.stdin.end();
  const ended = await bounded('the sender', first.ended);
  assert.equal(ended.status, 143, ended.stderr);
  assert.match(ended.stderr, /the ddt-fleet that has started this ddt-send is gone/);
  const second = await scene.start({ limit: null });
  await second.waitForLine(RECEIPT);
  second.stdin.write(fleetLine({ isReceiptKept: true }));
  assert.equal((await bounded('the sender', second.ended)).status, 0);
});

test('it keeps to the limit of the moment', async () => {
  await using scene = await makeScene(2 * MIB);
  const startMs = performance.now();
  const sender = await scene.start({ limit: 256 * KIB });
  await sender.waitForLine(/"event":"progress"/);
  await bounded('two seconds', new Promise((resolve) => setTimeout(resolve, 2000)));
  assert(!RECEIPT.test(sender.stdout), 'at the first limit it takes eight seconds');
  sender.stdin.write(fleetLine({ limit: null }));
  await sender.waitForLine(RECEIPT);
  assert(performance.now() - startMs < 7000);
});

test('it ends when it hears nothing for a minute, although its input is open', async () => {
  await using scene = await makeScene(2 * MIB);
  const sender = await scene.start({ limit: KIB });
  const startMs = performance.now();
  // Somebody is still there.
  await bounded('ten seconds', new Promise((resolve) => setTimeout(resolve, 10_000)));
  sender.stdin.write(fleetLine({}));
  const { status, stderr } = await bounded('the sender', sender.ended, FLEET_SILENCE_MS_MAX + 20_000);
  assert.equal(status, 143, stderr);
  const tookMs = performance.now() - startMs;
  assert(tookMs > FLEET_SILENCE_MS_MAX + 9000, `${tookMs} ms`);
});

test('it does nothing before it has a limit, and ends when nobody gives one', async () => {
  await using scene = await makeScene(MIB);
  const sender = await scene.start({});
  sender.stdin.end();
  const { status, stdout, stderr } = await bounded('the sender', sender.ended);
  assert.deepEqual([status, stdout], [130, ''], stderr);
  assert.equal(await scene.receiver.durableCount(), 0);
});

test('what would be lost or would contradict it is refused beside it', async () => {
  for (const [words, message] of [
    [['-'], '--steered takes a disk or a file'],
    [['--keep-open', 'a'], '--steered and --keep-open exclude each other'],
    [['--bwlimit', '1M', 'a'], '--steered and --bwlimit exclude each other'],
    [['a', 'b', 'vm:c,d'], '--steered is for one source, and 2 are given'],
  ] as const) {
    const { status, stderr } = await runSender(['--steered', ...words]);
    assert.equal(status, 2);
    assert(stderr.includes(`ddt-send: error: ${message}\n`), stderr);
  }
});
