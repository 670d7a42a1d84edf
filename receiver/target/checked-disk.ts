/** A disk that is only read, past the caches of this machine: of `--check-receipt`. */
import type { OpenDisk } from '../../common/disk/open-disk.ts';
import { openDirect, readDirect } from '../../common/io/direct-io.ts';
import type { OpenedExport } from '../../common/nbd/open-image.ts';

export interface CheckedDisk extends AsyncDisposable {
  readonly sizeBytes: number;
  /**
   * Fills `into`, the first bytes of a slab.
   * @returns false if it can't be read there, or ends before.
   */
  read(into: Buffer<ArrayBuffer>, offset: number): Promise<boolean>;
}

/** @param disk closed with the result. */
export async function checkedDisk(disk: OpenDisk): Promise<CheckedDisk> {
  const direct = await openDirect(disk.handle, 'read');
  const readSome = async (into: Buffer<ArrayBuffer>, done: number, offset: number): Promise<number> => {
    const some = direct === undefined ? undefined : await readDirect(direct, into, done, offset);
    if (some !== undefined) return some;
    const handle = direct ?? disk.handle;
    return (await handle.read(into, done, into.length - done, offset + done)).bytesRead;
  };
  return {
    sizeBytes: disk.description.sizeBytes,
    read: async (into, offset) => {
      try {
        for (let done = 0; done < into.length;) {
          const bytesRead = await readSome(into, done, offset);
          if (bytesRead === 0) return false;
          done += bytesRead;
        }
        return true;
      } catch {
        return false;
      }
    },
    [Symbol.asyncDispose]: async () => {
      await direct?.close();
      await disk[Symbol.asyncDispose]();
    },
  };
}

/** @param owned closed with the result. */
export function checkedExport({ disk }: OpenedExport, owned: AsyncDisposable): CheckedDisk {
  return {
    sizeBytes: disk.sizeBytes,
    read: async (into, offset) =>
      await disk.read(into, offset).then(
        () => true,
        () => false,
      ),
    [Symbol.asyncDispose]: async () => await owned[Symbol.asyncDispose](),
  };
}
