import type { Wrapping } from './processes.ts';
import { unlessInstalled } from './requires.ts';
/**
 * A wall clock that a test sets, for one process or for several, by libfaketime; the monotonic clock stays
 * right.
 */
import { chmod, glob, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

const LIBRARY = await findLibrary();

async function findLibrary(): Promise<string | undefined> {
  for await (const path of glob('/usr/lib/*/faketime/libfaketimeMT.so.1')) return path;
  return undefined;
}

/** For `skip`. */
export const skipUnlessFaketime = unlessInstalled('faketime');

export interface WallClock {
  /** For the processes that it is to rule. */
  readonly wrapping: Wrapping;
  /** Days from the true time. */
  set(days: number): Promise<void>;
}

/** @param path of a file that it may make. */
export async function wallClock(path: string): Promise<WallClock> {
  const set = async (days: number): Promise<void> => {
    await writeFile(`${path}.new`, `${days < 0 ? '' : '+'}${days}d\n`);
    await rename(`${path}.new`, path);
  };
  await set(0);
  // A receiver that is no longer root reads it, too.
  await chmod(dirname(path), 0o711);
  const env = {
    LD_PRELOAD: LIBRARY,
    FAKETIME_TIMESTAMP_FILE: path,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
  return { wrapping: { env }, set };
}
