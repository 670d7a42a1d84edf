/** A disc whose last sectors no drive can read, although it is not damaged. */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { BLOCK_BYTES, SMALL_BLOCKS } from '../support/copied.ts';
import { damagedDisk } from '../support/damaged-disk.ts';
import { skipUnlessFaultDisk } from '../support/fault-disk.ts';
import { runSender, startReceiver } from '../support/processes.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

/** The file system ends three sectors before the disc. */
const SIZE = 2 * BLOCK_BYTES;
const ISO_SECTORS = SIZE / 2048 - 3;

async function writeDescriptor(medium: string): Promise<void> {
  const descriptor = Buffer.alloc(2048);
  descriptor.write('\u0001CD001\u0001', 'latin1');
  descriptor.writeUInt32LE(ISO_SECTORS, 80);
  descriptor.writeUInt32BE(ISO_SECTORS, 84);
  descriptor.writeUInt16LE(2048, 128);
  descriptor.writeUInt16BE(2048, 130);
  await using file = await open(medium, 'r+');
  await file.write(descriptor, 0, descriptor.length, 32_768);
}

test(
  'the run-out of a disc is named as such, in the error and in the warning',
  { skip: skipUnlessFaultDisk },
  async () => {
    await using folder = await tempDir();
    await using disk = await damagedDisk(SIZE, { sectorBytes: 2048 });
    await writeDescriptor(disk.medium);
    assert.equal((await runOk('isosize', [disk.path])).trim(), String(ISO_SECTORS * 2048));
    await disk.spoil([[SIZE - 4096, SIZE]]);
    const target = join(folder.path, 'target');
    await using receiver = await startReceiver({ target, folder: folder.path });
    const command = [...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, disk.path];
    const note =
      `the last 4 KiB of ${disk.path} are past the end of the file system (isosize ${ISO_SECTORS * 2048}): ` +
      'run-out of the disc, not data';
    const stopped = await runSender(command);
    assert.equal(stopped.status, 5);
    assert(stopped.stderr.includes(`ddt-send: hint: ${note}; run the same command`), stopped.stderr);
    const sending = await runSender(['--on-read-error', 'zero', ...command]);
    assert.equal(sending.status, 3);
    assert(sending.stderr.endsWith(`ddt-send: warning: ${note}\n`), sending.stderr);
    await runOk('cmp', ['-n', String(SIZE - 4096), disk.medium, target]);
  },
);
