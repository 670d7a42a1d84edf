/** Disks that acknowledge a write and do something else: only reading back notices. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import {
  BLOCK_BYTES,
  SMALL_BLOCKS,
  assertCopied,
  assertJournalTrue,
  randomSource,
} from '../support/copied.ts';
import { faultDisk, skipUnlessFaultDisk, type FaultDisk, type Rule } from '../support/fault-disk.ts';
import { runSender, startReceiver, until, type Receiver } from '../support/processes.ts';
import type { Ended } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const BLOCKS = 16;
const skip = skipUnlessFaultDisk;

interface Scene extends AsyncDisposable {
  readonly disk: FaultDisk;
  readonly source: string;
  readonly receiver: Receiver;
  send(): Promise<Ended>;
}

async function scene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const disk = stack.use(await faultDisk(BLOCKS * BLOCK_BYTES));
  const source = await randomSource(folder.path, BLOCKS);
  const receiver = stack.use(await startReceiver({ target: disk.path, folder: folder.path }));
  const owned = stack.move();
  return {
    disk,
    source,
    receiver,
    send: async () => await runSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, source]),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

const onBlock = (index: number, rule: Omit<Rule, 'from' | 'end'>): Rule => ({
  ...rule,
  from: index * BLOCK_BYTES,
  end: (index + 1) * BLOCK_BYTES,
});

const LIES = {
  'was not made': { fault: 'drop-lies', times: 1 },
  'was made by half': { fault: 'torn-lies', times: 1 },
  'went to another place': { fault: 'misdirect-lies', times: 1, place: 11 * BLOCK_BYTES },
  'has a bit wrong': { fault: 'flip-lies', times: 1 },
} as const satisfies Record<string, Rule>;

for (const [what, rule] of Object.entries(LIES)) {
  test(`a write that ${what} is found by reading back, named, and repeated`, { skip }, async () => {
    await using the = await scene();
    await the.disk.setFault(onBlock(5, rule));
    await assertCopied(await the.send(), the.source, the.disk.medium);
    const { stderr } = the.receiver.process;
    const offset = 5 * BLOCK_BYTES;
    const named = `block 5 (offset ${offset}) of ${the.disk.path} was read back`;
    const said = 'it holds other bytes than were written; it will be sent again (1 of 3)';
    assert(stderr.includes(`warning: ${named}: ${said}\n`), stderr);
    await the.receiver.end('SIGTERM');
    assert.equal((await assertJournalTrue(the.receiver.stateDir, the.disk.medium)).durable.length, BLOCKS);
  });
}

test('blocks that read back wrong three times end the transfer with 5 and their list', { skip }, async () => {
  await using the = await scene();
  await the.disk.setFault({ fault: 'flip-lies', from: 5 * BLOCK_BYTES, end: 7 * BLOCK_BYTES });
  const sending = await the.send();
  assert.equal(sending.status, 5, sending.stderr);
  const what = `cannot verify blocks 5-6 of ${the.disk.path}: written 3 times and read back wrong`;
  const said = `error: the receiver says: ${what}`;
  assert(sending.stderr.includes(said), sending.stderr);
});

test('a misdirected write over a verified block does not spoil the proof', { skip }, async () => {
  await using the = await scene();
  const { receiver, disk, source } = the;
  const claim = { size: BLOCKS * BLOCK_BYTES, blockSize: BLOCK_BYTES };
  const body = JSON.stringify({ ...claim, source: { description: 'regular file', path: source } });
  await receiver.request('PUT', '/transfer', Buffer.from(body));
  const first = (await readFile(source)).subarray(0, BLOCK_BYTES);
  await receiver.request('PUT', `/blocks/0?digest=sha256:${hash('sha256', first)}`, first);
  await until('block 0 to be verified', async () => (await receiver.status()).blocks.verified === 1);
  await disk.setFault(onBlock(9, { fault: 'misdirect-lies', times: 1, place: 0 }));
  await assertCopied(await the.send(), source, disk.medium);
  for (const index of [0, 9]) {
    assert.match(
      receiver.process.stderr,
      new RegExp(`block ${index} \\(.*it holds other bytes than were written`),
    );
  }
});

test('a bit that flips only while it is read back is reported and costs no block', { skip }, async () => {
  await using the = await scene();
  await the.disk.setFault(onBlock(5, { fault: 'flip-read-lies', times: 1 }));
  await assertCopied(await the.send(), the.source, the.disk.medium);
  assert.match(the.receiver.process.stderr, /block 5 .* was read back wrong once and right the second time/);
});

test(
  'a block that cannot be read back is sent again, as a write may repair a bad sector',
  { skip },
  async () => {
    await using the = await scene();
    // Each read-back makes two reads.
    await the.disk.setFault(onBlock(5, { fault: 'read-fails', times: 2 }));
    await assertCopied(await the.send(), the.source, the.disk.medium);
    assert.match(
      the.receiver.process.stderr,
      /block 5 .* cannot read back .* input\/output error; it will be sent/,
    );
  },
);
