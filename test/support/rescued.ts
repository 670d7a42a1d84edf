/** What other programs make of a damaged disk: dd(1) and GNU ddrescue, to compare with. */
import assert from 'node:assert/strict';
import { runOk, run } from './run.ts';

const DD_ATTEMPTS_MAX = 3;

/** All that can be read, zeros in the place of the rest; dd pads a short tail, which is cut off again. */
export async function ddAround(
  disk: string,
  copy: string,
  options: { sectorBytes: number; size: number; badBytes: number },
): Promise<void> {
  const { sectorBytes, size, badBytes } = options;
  const flags = ['conv=noerror,sync', 'iflag=direct', `bs=${sectorBytes}`, 'status=noxfer'];
  const badCount = badBytes / sectorBytes;
  // A process is started for each read: on a busy machine one may fail that should not, and dd says so.
  for (let attempt = 1; ; attempt++) {
    const { stderr } = await run('dd', [`if=${disk}`, `of=${copy}`, ...flags]);
    const errorCount = stderr.split('error reading').length - 1;
    if (errorCount === badCount) break;
    assert(attempt < DD_ATTEMPTS_MAX, `dd could not read ${errorCount} sectors of ${badCount}: ${stderr}`);
  }
  await runOk('truncate', ['--size', String(size), copy]);
}

/** As for dd: what failed is tried twice more, and what is really bad stays bad. */
export async function ddrescue(
  options: readonly string[],
  disk: string,
  copy: string,
  mapfile: string,
): Promise<void> {
  const ways = ['--idirect', '--quiet', '--retry-passes=2'];
  await runOk('ddrescue', [...ways, ...options, disk, copy, mapfile]);
}

/** Sectors of the status, one a line: ddrescuelog reads the file whole, and refuses what it can't. */
export async function sectorsIn(mapfile: string, status: '+' | '-' | '?'): Promise<number[]> {
  const list = await runOk('ddrescuelog', ['--block-size=512', `--list-blocks=${status}`, mapfile]);
  await runOk('ddrescuelog', ['--show-status', mapfile]);
  return list.split('\n').slice(0, -1).map(Number);
}
