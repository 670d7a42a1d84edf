/** File systems with little room, to fill up and to enlarge; for root only. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runOk } from './run.ts';
import { tempDir } from './temp-dir.ts';

export interface SmallFs extends AsyncDisposable {
  readonly path: string;
  resize(sizeBytes: number): Promise<void>;
  /** Leaves room for `freeBytes` more. @param sizeBytes as it is now. */
  fill(fillingBytes: number): Promise<void>;
  /** Undoes {@link fill}. */
  empty(): Promise<void>;
}

/** A tmpfs. Nothing may be in use on it when it is disposed. */
export async function smallFs(sizeBytes: number): Promise<SmallFs> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  await runOk('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', folder.path]);
  stack.defer(async () => void (await runOk('umount', [folder.path])));
  const owned = stack.move();
  const filling = join(folder.path, 'filling');
  return {
    path: folder.path,
    resize: async (bytes) => void (await runOk('mount', ['-o', `remount,size=${bytes}`, folder.path])),
    fill: async (bytes) => await writeFile(filling, Buffer.alloc(bytes)).catch(() => {}),
    empty: async () => void (await runOk('rm', ['-f', filling])),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}
