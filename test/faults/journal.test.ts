/** The folder of the journal: full, failing, of another disk, used by two. */
import assert from 'node:assert/strict';
import { readFile, rm, symlink } from 'node:fs/promises';
import { hash } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { blockOf, claimByHand, putByHand } from '../support/by-hand.ts';
import {
  BLOCK_BYTES,
  SMALL_BLOCKS,
  assertCopied,
  assertJournalTrue,
  assertOnMedium,
  randomSource,
} from '../support/copied.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import {
  KIB,
  OWN_HOST,
  doneOf,
  runReceiver,
  runSender,
  sha256sum,
  startReceiver,
  startSender,
  Receiver,
} from '../support/processes.ts';
import { smallFs } from '../support/small-fs.ts';
import { skipUnlessStrace, strace } from '../support/strace.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = skipUnlessLoop;
const BLOCKS = 16;
const SIZE_BYTES = BLOCKS * BLOCK_BYTES;

test(
  'while the journal has no room nothing more becomes durable; then the same run goes on',
  { skip },
  async () => {
    await using folder = await tempDir();
    await using disk = await loopDevice(SIZE_BYTES, { directIo: true });
    await using state = await smallFs(512 * KIB);
    const path = await randomSource(folder.path, BLOCKS);
    const source = await readFile(path);
    await using receiver = await startReceiver({ target: disk.path, folder: state.path });
    await claimByHand(receiver, SIZE_BYTES, path);
    for (let at = 0; at < 4; at++) assert.equal(await putByHand(receiver, at, blockOf(source, at)), 201);
    await state.fill(512 * KIB);
    // Until the journal's last page is used up.
    let at = 4;
    while ((await putByHand(receiver, at, blockOf(source, at))) === 201) at++;
    assert(at < BLOCKS);
    await using sender = await startSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, path]);
    await sender.waitForLine(
      /warning: there is no room at the receiver: the .*: cannot write the journal \S+: .* is full;/,
    );
    assert.equal(await receiver.durableCount(), at);
    await state.empty();
    await assertCopied(await sender.ended, path, disk.path);
    const { stderr } = receiver.process;
    assert.match(stderr, /warning: cannot write the journal \S+: database or disk is full: free some space/);
    assert.match(stderr, /ddt-receive: there is room again after \d+ s\n/);
  },
);

test(
  'a journal that cannot be flushed ends the receiver with 5, and lists nothing false',
  {
    skip: skip || skipUnlessStrace,
  },
  async () => {
    await using folder = await tempDir();
    await using disk = await loopDevice(SIZE_BYTES, { directIo: true });
    const path = await randomSource(folder.path, BLOCKS);
    const source = await readFile(path);
    await using receiver = new Receiver({ target: disk.path, folder: folder.path });
    await receiver.start();
    await claimByHand(receiver.client, SIZE_BYTES, path);
    for (let at = 0; at < 4; at++) await putByHand(receiver.client, at, blockOf(source, at));
    await receiver.end('SIGTERM');
    const wal = join(receiver.stateDir, hash('sha256', disk.path).slice(0, 16), 'journal.db-wal');
    const inject = 'fsync:error=EIO:when=1+';
    await receiver.start(strace({ log: join(folder.path, 'log'), trace: 'fsync', paths: [wal], inject }));
    await using sender = await startSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, path]);
    const { status, stderr } = await receiver.process.ended;
    assert.equal(status, 5);
    assert.match(stderr, /error: cannot write the journal \S+: disk I\/O error\n/);
    await assertJournalTrue(receiver.stateDir, disk.path);
    await receiver.start();
    await assertCopied(await sender.ended, path, disk.path);
  },
);

test('another disk under the same name is refused and left unchanged', { skip }, async () => {
  await using folder = await tempDir();
  await using right = await loopDevice(SIZE_BYTES, { directIo: true });
  await using other = await loopDevice(SIZE_BYTES, { directIo: true });
  await using larger = await loopDevice(2 * SIZE_BYTES, { directIo: true });
  const path = await randomSource(folder.path, BLOCKS);
  const source = await readFile(path);
  const target = join(folder.path, 'target');
  await symlink(right.path, target);
  await using receiver = await startReceiver({ target, folder: folder.path });
  await claimByHand(receiver, SIZE_BYTES, path);
  for (let at = 0; at < 4; at++) await putByHand(receiver, at, blockOf(source, at));
  await receiver.end('SIGTERM');
  for (const [disk, reason] of [
    [other, /error: \S+ holds nothing of this transfer: all of \d+ sampled blocks differ/],
    [larger, /error: \S+ is not the target that this transfer began with: .* was 1048576 .* is 2097152 now/],
  ] as const) {
    await rm(target);
    await symlink(disk.path, target);
    const before = await sha256sum(disk.path);
    const refused = await runReceiver([
      '--listen',
      `${OWN_HOST}:0`,
      '--state-dir',
      receiver.stateDir,
      target,
    ]);
    assert.equal(refused.status, 4);
    assert.match(refused.stderr, reason);
    assert.match(refused.stderr, /hint: .*--discard-transfer/);
    assert.equal(await sha256sum(disk.path), before);
  }
  await rm(target);
  await symlink(right.path, target);
  await receiver.start();
  const sending = await runSender([
    ...SMALL_BLOCKS,
    '--progress',
    'json',
    '--ticket-file',
    receiver.ticketFile,
    path,
  ]);
  await assertCopied(sending, path, right.path);
  assert.equal(doneOf(sending).blocksSkipped, 4);
});

test('a second receiver for the same target is refused, and the first one continues', { skip }, async () => {
  await using folder = await tempDir();
  await using elsewhere = await tempDir();
  await using disk = await loopDevice(SIZE_BYTES, { directIo: true });
  const source = await randomSource(folder.path, BLOCKS);
  await using receiver = await startReceiver({ target: disk.path, folder: folder.path });
  for (const [stateDir, reason] of [
    [receiver.stateDir, /error: another ddt-receive is using the journal \S+/],
    [elsewhere.path, /error: .*(the device is in use|it is in use)/],
  ] as const) {
    const refused = await runReceiver(['--listen', `${OWN_HOST}:0`, '--state-dir', stateDir, disk.path]);
    assert.equal(refused.status, 4, refused.stderr);
    assert.match(refused.stderr, reason);
  }
  const sending = await runSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, source]);
  await assertCopied(sending, source, disk.path);
});

test(
  'a second sender waits for the first, and may then compare but not change the sealed copy',
  { skip },
  async () => {
    await using folder = await tempDir();
    await using disk = await loopDevice(SIZE_BYTES * 16, { directIo: true });
    const [first, second] = [
      await randomSource(folder.path, BLOCKS * 16, 1),
      await randomSource(folder.path, BLOCKS * 16, 2),
    ];
    await using receiver = await startReceiver({ target: disk.path, folder: folder.path });
    const options = [...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile];
    await using one = await startSender([...options, first]);
    await receiver.process.waitForLine(/claimed by/);
    await using two = await startSender([...options, second]);
    await assertCopied(await one.ended, first, disk.path);
    const compared = await two.ended;
    assert.equal(compared.status, 3, compared.stderr);
    assert.match(compared.stdout, /^differs {2}256 of 256 blocks of the source are not what was sealed: /m);
    await assertOnMedium(first, disk.path);
  },
);
