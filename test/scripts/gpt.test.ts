/** Partition tables that are written without sfdisk, judged by sfdisk and sgdisk. */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { partitionTable, SECTOR_BYTES, type PartitionTable } from '../../scripts/image/gpt.ts';
import { MIB } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const DISK_ID = '00112233-4455-6677-8899-aabbccddeeff';
const PARTITIONS = [
  { type: 'efi', id: 'ddd00000-0000-4000-8000-000000000001', name: 'EFI', offsetBytes: MIB, sizeBytes: MIB },
  {
    type: 'linux',
    id: 'ddd00000-0000-4000-8000-000000000002',
    name: 'data',
    offsetBytes: 2 * MIB,
    sizeBytes: 5 * MIB,
  },
] as const;
const SIZE_BYTES = 8 * MIB;
const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, LC_ALL: 'C' };

async function writeDisk(path: string, { head, tail, tailOffsetBytes }: PartitionTable): Promise<void> {
  await using handle = await open(path, 'w');
  await handle.truncate(SIZE_BYTES);
  await handle.write(head, 0, head.length, 0);
  await handle.write(tail, 0, tail.length, tailOffsetBytes);
}

test(
  'sfdisk reads the identifiers, names and places that were written',
  { skip: unlessInstalled('sfdisk') },
  async () => {
    await using folder = await tempDir();
    const path = join(folder.path, 'disk');
    await writeDisk(path, partitionTable(SIZE_BYTES, DISK_ID, PARTITIONS));
    const { partitiontable: read } = JSON.parse(await runOk('sfdisk', ['--json', path], { env })) as {
      partitiontable: {
        id: string;
        partitions: { uuid: string; name: string; start: number; size: number }[];
      };
    };
    assert.equal(read.id.toLowerCase(), DISK_ID);
    assert.deepEqual(
      read.partitions.map(({ uuid, name, start, size }) => [uuid.toLowerCase(), name, start, size]),
      PARTITIONS.map(({ id, name, offsetBytes, sizeBytes }) => {
        return [id, name, offsetBytes / SECTOR_BYTES, sizeBytes / SECTOR_BYTES];
      }),
    );
  },
);

test(
  'sgdisk finds both copies sound, and notices a damaged one',
  { skip: unlessInstalled('sgdisk') },
  async () => {
    await using folder = await tempDir();
    const path = join(folder.path, 'disk');
    const table = partitionTable(SIZE_BYTES, DISK_ID, PARTITIONS);
    await writeDisk(path, table);
    assert.match(await runOk('sgdisk', ['--verify', path], { env }), /^No problems found\./m);
    for (const part of ['head', 'tail'] as const) {
      const damaged = Buffer.from(table[part]);
      // A byte of the first partition's entry.
      damaged.writeUInt8(0x55, part === 'head' ? 2 * SECTOR_BYTES + 20 : 20);
      await writeDisk(path, { ...table, [part]: damaged });
      const { stdout, stderr } = await run('sgdisk', ['--verify', path], { env });
      assert.doesNotMatch(stdout, /^No problems found\./m, stderr);
    }
  },
);
