import assert from 'node:assert/strict';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  OWN_HOST,
  type Receiver,
  assertEqualFiles,
  bounded,
  doneOf,
  runReceiver,
  runSender,
  sendAll,
  startReceiver,
  startSender,
  writeTicketVia,
} from '../support/processes.ts';
import { Relay } from '../support/relay.ts';
import { tempDir } from '../support/temp-dir.ts';

const SIZE_BYTES = 4 * MIB;
const BLOCK = ['--block-size', '64KiB'];

/** In the middle of a transfer others try to take its target; it ends as if nothing had been. */
async function assertExclusive(folder: string, target: string, other: RegExp): Promise<void> {
  const source = join(folder, 'source');
  await writeFile(source, prng(freshSeed()).bytes(SIZE_BYTES));
  await using receiver = await startReceiver({ folder, target });
  await using relay = await Relay.start({ to: receiver, holdAtBytes: MIB });
  const ticketFile = await writeTicketVia(receiver, relay, join(folder, 'via'));
  await using sender = await startSender([
    '--progress',
    'json',
    ...BLOCK,
    '--ticket-file',
    ticketFile,
    source,
  ]);
  await bounded('the transfer to begin', relay.reach(MIB));
  const refused = await secondReceiver(receiver.stateDir, target);
  assert.equal(refused.status, 4, refused.stderr);
  assert.match(refused.stderr, /^ddt-receive: error: another ddt-receive is using the journal /);
  const discarding = await secondReceiver(
    receiver.stateDir,
    target,
    '--discard-transfer',
    '--overwrite-target',
  );
  assert.equal(discarding.status, 4, discarding.stderr);
  assert.match(discarding.stderr, /^ddt-receive: error: another ddt-receive is using the journal /);
  const elsewhere = await secondReceiver(join(folder, 'elsewhere'), target, '--overwrite-target');
  assert.equal(elsewhere.status, 4, elsewhere.stderr);
  assert.match(elsewhere.stderr, other);
  relay.release();
  doneOf(await bounded('the sender to end', sender.ended));
  await assertEqualFiles(source, target);
}

async function secondReceiver(
  stateDir: string,
  target: string,
  ...options: readonly string[]
): ReturnType<typeof runReceiver> {
  return await runReceiver(['--listen', `${OWN_HOST}:0`, '--state-dir', stateDir, ...options, target]);
}

test('a second receiver on the same file is refused, whatever its state folder', async () => {
  await using folder = await tempDir();
  await assertExclusive(folder.path, join(folder.path, 'target'), /it is in use: |is writing/);
});

test(
  'a second receiver on the same device is refused, whatever its state folder',
  { skip: skipUnlessLoop },
  async () => {
    await using folder = await tempDir();
    await using device = await loopDevice(SIZE_BYTES);
    await assertExclusive(folder.path, device.path, /it is in use: |the device is in use/);
  },
);

test('a second receiver on the same file by another name is refused', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'target');
  await using receiver = await startReceiver({ folder: folder.path, target });
  await symlink(target, join(folder.path, 'alias'));
  const ended = await secondReceiver(receiver.stateDir, join(folder.path, 'alias'));
  assert.equal(ended.status, 4, ended.stderr);
  assert.match(ended.stderr, /it is in use: |is writing/);
});

test('two receivers with one state folder serve two targets, each by its own ticket only', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(freshSeed()).bytes(MIB));
  const targets = ['one', 'two'].map((name) => join(folder.path, name));
  await using stack = new AsyncDisposableStack();
  const receivers: Receiver[] = [];
  for (const target of targets) {
    receivers.push(stack.use(await startReceiver({ folder: folder.path, target })));
  }
  const [one, two] = receivers;
  assert(one !== undefined && two !== undefined);
  assert.equal(one.pin, two.pin, 'one key for both');
  const swapped = one.ticket.replace(`:${one.port}/`, `:${two.port}/`);
  const ended = await runSender([...BLOCK, source, swapped]);
  assert.equal(ended.status, 4, ended.stderr);
  assert.match(
    ended.stderr,
    /^ddt-send: error: the receiver says: the ticket is for an earlier .*, or for another target$/m,
  );
  assert.equal((await two.status()).state, 'unclaimed');
  await Promise.all(receivers.map(async ({ ticket }) => await sendAll(...BLOCK, source, ticket)));
  for (const target of targets) await assertEqualFiles(source, target);
});
