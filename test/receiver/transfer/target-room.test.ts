/** A file that may outgrow its file system: the receiver warns when the source claims it. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { roomShortage } from '../../../receiver/transfer/target-room.ts';
import { claimByHand } from '../../support/by-hand.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { MIB, startReceiver } from '../../support/processes.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { skipUnlessTmpfs, tmpfs } from '../../support/tmpfs.ts';

const SOURCE = { description: 'a source', path: '/dev/sdc', model: null, serial: null };

test('a source larger than the free space is worth a warning, with both sizes', async () => {
  // It has room for 16 MiB.
  const target = new MemoryTarget();
  const claim = { blockSize: 65_536, source: SOURCE };
  assert.equal(
    await roomShortage(target, { ...claim, size: 16 * MIB + 1 }),
    '/memory may run out of space: the source has 16.0 MiB, the file system has room for 16 MiB; ' +
      'only blocks of zeros take none',
  );
  for (const size of [0, 16 * MIB, null]) {
    assert.equal(await roomShortage(target, { ...claim, size }), undefined, String(size));
  }
});

test('the receiver warns at the claim, before any data is sent', { skip: skipUnlessTmpfs }, async () => {
  await using folder = await tempDir();
  await using small = await tmpfs('8m');
  // What the file has already is room as well.
  const target = join(small.path, 'disk.img');
  await writeFile(target, Buffer.alloc(2 * MIB, 1));
  const options = ['--overwrite-target'];
  await using receiver = await startReceiver({ folder: folder.path, target, options });
  await claimByHand(receiver, 64 * MIB, '/dev/sdc');
  await receiver.process.waitForLine(
    /warning: \S+disk\.img may run out of space: the source has 64 MiB, .* has room for 8 MiB; only blocks/,
  );
});

test('a source that fits is claimed without a warning', { skip: skipUnlessTmpfs }, async () => {
  await using folder = await tempDir();
  await using small = await tmpfs('8m');
  await using receiver = await startReceiver({ folder: folder.path, target: join(small.path, 'disk.img') });
  await claimByHand(receiver, 8 * MIB, '/dev/sdc');
  const { stderr } = await receiver.end('SIGTERM');
  assert.doesNotMatch(stderr, /warning/);
});
