/** The parts of a disk that may have file systems: its partitions, or all of it. */
import type { FileHandle } from 'node:fs/promises';
import { deviceFolderOf, partitionFoldersOf, readLine } from '../../common/disk/block-devices.ts';
import { openPartition } from '../../common/disk/disk-content.ts';
import type { OpenDisk } from '../../common/disk/open-disk.ts';
import { SECTOR_BYTES } from '../../common/areas.ts';

export interface Part {
  readonly node: string;
  readonly majorMinor: string;
  readonly isWholeDisk: boolean;
  /** On the disk, in bytes. */
  readonly offset: number;
  readonly sizeBytes: number;
  readonly handle: FileHandle;
}

export interface Parts extends AsyncDisposable {
  readonly all: readonly Part[];
}

/** As the kernel has them. Opens each. @throws Error if a node is another device. */
export async function partsOf({ description, handle }: OpenDisk, majorMinor: string): Promise<Parts> {
  const { realPath, sizeBytes } = description;
  const folders = await partitionFoldersOf(await deviceFolderOf(majorMinor));
  if (folders.length === 0) {
    const whole = { node: realPath, majorMinor, isWholeDisk: true, offset: 0, sizeBytes, handle };
    return { all: [whole], [Symbol.asyncDispose]: async () => await Promise.resolve() };
  }
  await using stack = new AsyncDisposableStack();
  const all: Part[] = [];
  for (const folder of folders) {
    const { node, handle: opened } = await openPartition(folder);
    stack.use(opened);
    const inSectors = async (name: string): Promise<number> => Number(await readLine(`${folder}/${name}`));
    all.push({
      node,
      majorMinor: (await readLine(`${folder}/dev`)) ?? '',
      isWholeDisk: false,
      // In units of 512 bytes whatever the disk has (Documentation/ABI/stable/sysfs-block).
      offset: (await inSectors('start')) * SECTOR_BYTES,
      sizeBytes: (await inSectors('size')) * SECTOR_BYTES,
      handle: opened,
    });
  }
  const owned = stack.move();
  return { all, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}

export function overlapsAny(part: Part, all: readonly Part[]): boolean {
  const end = part.offset + part.sizeBytes;
  return all.some(
    (other) => other !== part && other.offset < end && part.offset < other.offset + other.sizeBytes,
  );
}
