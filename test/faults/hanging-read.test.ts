/** A disk on which some reads hang: the rest of the copy does not wait for them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { BLOCK_BYTES } from '../support/copied.ts';
import { damagedDisk } from '../support/damaged-disk.ts';
import { skipUnlessFaultDisk } from '../support/fault-disk.ts';
import { startReceiver, startSender, until } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

/** As many as the threads of a process with few connections; a FUSE file takes ten requests at once. */
const HANGING = 8;
/** The mount has sixteen connections, used in turn: one that hangs would get the seventeenth request. */
const BLOCKS = 12;

test(
  'reads that hang on all connections but one delay neither the others nor their digests',
  { skip: skipUnlessFaultDisk, timeout: 180_000 },
  async () => {
    await using folder = await tempDir();
    await using disk = await damagedDisk(BLOCKS * BLOCK_BYTES);
    // Longer than the test; reads that still wait then end with the disk.
    // Not at its start, which is read to identify the disk.
    await disk.slow([[2 * BLOCK_BYTES, (2 + HANGING) * BLOCK_BYTES]], 150);
    await using receiver = await startReceiver({ target: join(folder.path, 'target'), folder: folder.path });
    const connections = ['--connections', String(HANGING + 1), '--block-size', '64KiB'];
    // The file and not the loop device, which lets no other request pass while so many are waiting.
    const places = ['--ticket-file', receiver.ticketFile, disk.file];
    await using sender = await startSender([...connections, ...places]);
    try {
      await until('the other blocks', async () => (await receiver.durableCount()) === BLOCKS - HANGING);
      assert.equal(sender.stderr.includes('error'), false);
    } finally {
      // A process does not end while the kernel reads for it.
      await disk.cutPower();
    }
  },
);
