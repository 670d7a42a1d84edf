/**
 * A disk with sectors that can't be read, or that take their time: a medium behind nbdkit and a loop device
 * with direct I/O, as in fault-disk.ts, that counts what is read. For root only.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { nbdDisk, type NbdDisk } from './fault-disk.ts';
import { prng } from './prng.ts';
import { tempDir } from './temp-dir.ts';

/** Bytes of the disk: the first, and the one behind the last. */
export type Extent = readonly [from: number, end: number];

export interface DamagedDisk extends NbdDisk {
  /** Reads that touch any of these bytes fail with EIO, until the next call. */
  spoil(extents: readonly Extent[]): Promise<void>;
  /** Reads that touch any of these bytes take so long, until the next call. */
  slow(extents: readonly Extent[], seconds: number): Promise<void>;
  /**
   * Bytes that were asked for since the last call, by reads from this offset on, those that failed among
   * them: whoever wants to know what is on a disk looks at its start.
   */
  bytesRead(from?: number): Promise<number>;
}

/** nbdkit-sh-plugin(3): $1 is the call, $3 the length, $4 the offset. As few processes as can be. */
const PLUGIN = String.raw`#!/bin/sh
D=FOLDER
case $1 in
  thread_model) echo parallel;;
  can_multi_conn) exit 0;;
  get_size) stat -c %s "$D/medium";;
  pread)
    echo "$4 $3" >> "$D/reads"
    while read -r from end seconds; do
      if [ "$4" -lt "$end" ] && [ $(($4 + $3)) -gt "$from" ]; then sleep "$seconds"; fi
    done < "$D/slow"
    while read -r from end; do
      if [ "$4" -lt "$end" ] && [ $(($4 + $3)) -gt "$from" ]; then echo EIO read >&2; exit 1; fi
    done < "$D/bad"
    exec dd if="$D/medium" iflag=skip_bytes,count_bytes skip="$4" count="$3" bs=1M status=none;;
  *) exit 2;;
esac
`;

/** Random bytes without a zero among them: what is zero in a copy was not read. */
export async function damagedDisk(
  sizeBytes: number,
  options: { sectorBytes?: number; seed?: number } = {},
): Promise<DamagedDisk> {
  const { sectorBytes = 512, seed = 1 } = options;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const at = (name: string): string => join(folder.path, name);
  await writeFile(
    at('medium'),
    prng(seed)
      .bytes(sizeBytes)
      .map((byte) => byte || 1),
  );
  const put = async (name: string, lines: readonly string[]): Promise<void> => {
    // The plugin must never see half of it.
    await writeFile(at(`${name}.new`), lines.map((line) => `${line}\n`).join(''));
    await rename(at(`${name}.new`), at(name));
  };
  await put('bad', []);
  await put('slow', []);
  await put('reads', []);
  await writeFile(at('plugin'), PLUGIN.replace('FOLDER', folder.path), { mode: 0o755 });
  const sectors = ['--sector-size', String(sectorBytes)];
  const disk = stack.use(await nbdDisk(folder.path, sizeBytes, ['sh', at('plugin')], sectors));
  const owned = stack.move();
  return {
    path: disk.path,
    file: disk.file,
    medium: disk.medium,
    cutPower: async () => await disk.cutPower(),
    spoil: async (extents) =>
      await put(
        'bad',
        extents.map(([from, end]) => `${from} ${end}`),
      ),
    slow: async (extents, seconds) =>
      await put(
        'slow',
        extents.map(([from, end]) => `${from} ${end} ${seconds}`),
      ),
    bytesRead: async (from = 0) => {
      const lines = (await readFile(at('reads'), 'utf8')).split('\n').slice(0, -1);
      await put('reads', []);
      const reads = lines.map((line) => line.split(' ').map(Number));
      return reads.reduce((sum, [offset = 0, length = 0]) => sum + (offset < from ? 0 : length), 0);
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}
