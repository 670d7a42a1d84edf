/** A disk for the demo, made without any tool: two partitions with text, random bytes, and zeros between. */
import { open, readFile } from 'node:fs/promises';
import { listTexts, seededBytes } from './image-content.ts';
import { partitionTable, type Partition } from './gpt.ts';

const MIB = 2 ** 20;
const EFI_BYTES = 32 * MIB;
/** Before partition 1, and behind the last one for the backup of the table. */
const MARGIN_BYTES = MIB;
/** Each group holds some text and some random bytes; the rest of it is zeros. */
const GROUP_BYTES = 8 * MIB;
const TEXT_BYTES = MIB;
const RANDOM_BYTES = 4 * MIB;

export interface DemoDisk {
  readonly textBytes: number;
  readonly randomBytes: number;
}

/** The same bytes for the same size. */
export async function makeDemoDisk(path: string, sizeBytes: number, signal: AbortSignal): Promise<DemoDisk> {
  const partitions: readonly Partition[] = [
    {
      type: 'efi',
      id: 'ddd00000-0000-4000-8000-000000000012',
      name: 'EFI',
      offsetBytes: MARGIN_BYTES,
      sizeBytes: EFI_BYTES,
    },
    {
      type: 'linux',
      id: 'ddd00000-0000-4000-8000-000000000013',
      name: 'data',
      offsetBytes: MARGIN_BYTES + EFI_BYTES,
      sizeBytes: sizeBytes - EFI_BYTES - 2 * MARGIN_BYTES,
    },
  ];
  const table = partitionTable(sizeBytes, 'ddd00000-0000-4000-8000-000000000011', partitions);
  const text = await readText();
  const random = seededBytes(1);
  const made = { textBytes: 0, randomBytes: 0 };
  await using handle = await open(path, 'wx');
  await handle.truncate(sizeBytes);
  await handle.write(table.head, 0, table.head.length, 0);
  await handle.write(table.tail, 0, table.tail.length, table.tailOffsetBytes);
  for (let at = 2 * MARGIN_BYTES; at + GROUP_BYTES <= sizeBytes; at += GROUP_BYTES) {
    signal.throwIfAborted();
    await handle.write(text, made.textBytes % (text.length - TEXT_BYTES), TEXT_BYTES, at);
    await handle.write(random(RANDOM_BYTES), 0, RANDOM_BYTES, at + TEXT_BYTES);
    made.textBytes += TEXT_BYTES;
    made.randomBytes += RANDOM_BYTES;
  }
  return made;
}

async function readText(): Promise<Buffer> {
  return Buffer.concat(await Promise.all((await listTexts()).map(async (path) => await readFile(path))));
}
