/** A file system in memory, as small as wanted; for root only. */
import { unlessInstalled, unlessRoot } from './requires.ts';
import { runOk } from './run.ts';
import { tempDir, type TempDir } from './temp-dir.ts';

/** For `skip`. */
export const skipUnlessTmpfs: string | false = unlessRoot || unlessInstalled('losetup');

/** @param size as mount(8) takes it: `6m`. */
export async function tmpfs(size: string): Promise<TempDir> {
  const folder = await tempDir();
  await runOk('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder.path]);
  return {
    path: folder.path,
    async [Symbol.asyncDispose]() {
      // Lazily: what a failed test left open must not leave the mount behind.
      await runOk('umount', ['--lazy', folder.path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}
