/**
 * A small file beside a journal, for as long as a receiver has that open: who it is and how far it is.
 * SQLite's exclusive lock keeps everybody else from reading the journal itself.
 */
import { writeFileSync, constants } from 'node:fs';
import { open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readLine } from '../common/disk/block-devices.ts';
import { isRecord } from '../common/records.ts';
import { isNamed } from './transfer/journal-objects.ts';
import type { TransferSummary } from './transfer-summary.ts';

/** Of this process in `ps` and `pgrep`, and in the messages of others that find the target open. */
export const PROCESS_NAME = 'ddt-receive';

const FILE_NAME = 'receiver.json';
/** A path has 4 KiB at most; there are a few. */
const FILE_BYTES_MAX = 64 * 1024;
/** How old the figures of `--list` may be. */
const UPDATE_MS = 5000;

export interface Presence {
  readonly processId: number;
  /** When that process began: its id may be another process's by now. */
  readonly processStart: string;
  readonly transfer: TransferSummary;
}

/**
 * Keeps the file up to date until it is disposed. What can't be written is left out: nothing depends on it.
 */
export async function keepPresence(
  folder: string,
  summarize: () => TransferSummary,
): Promise<AsyncDisposable> {
  const path = join(folder, FILE_NAME);
  const processStart = (await startOf(process.pid)) ?? '';
  let written = '';
  const update = async (): Promise<void> => {
    const presence: Presence = { processId: process.pid, processStart, transfer: summarize() };
    const text = `${JSON.stringify(presence)}\n`;
    if (text === written) return;
    try {
      await writeFile(`${path}.tmp`, text, { mode: 0o600 });
      await rename(`${path}.tmp`, path);
      written = text;
    } catch {
      // A full disk, above all.
    }
  };
  await update();
  let updating = Promise.resolve();
  const timer = setInterval(() => {
    updating = updating.then(update);
  }, UPDATE_MS).unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await updating;
      await rm(path, { force: true }).catch(() => {});
    },
  };
}

/** undefined without the file, and when the receiver that wrote it has been killed. */
export async function readPresence(folder: string): Promise<Presence | undefined> {
  try {
    const value: unknown = JSON.parse(await readSmallFile(join(folder, FILE_NAME)));
    if (!isPresence(value)) return undefined;
    const start = await startOf(value.processId);
    return start !== undefined && start === value.processStart ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The receiver's own user can leave anything there: a pipe, a link, a file without end. */
async function readSmallFile(path: string): Promise<string> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const stats = await file.stat();
  if (!stats.isFile() || stats.size > FILE_BYTES_MAX) throw new Error(`${path} is not a file of ours`);
  return await file.readFile('utf8');
}

function isPresence(value: unknown): value is Presence {
  if (!isRecord(value)) return false;
  const { processId, processStart, transfer } = value;
  if (!Number.isSafeInteger(processId) || typeof processStart !== 'string' || !isRecord(transfer))
    return false;
  const { state, target, source, sizeBytes, blockCount, durableBlocks } = transfer;
  return (
    (state === 'sealed' || state === 'unclaimed' || state === 'open') &&
    [target, source].every((disk) => disk === null || isNamed(disk)) &&
    [sizeBytes, blockCount].every((count) => count === null || typeof count === 'number') &&
    typeof durableBlocks === 'number'
  );
}

/**
 * In clock ticks since the machine was booted, the 22nd field of proc_pid_stat(5); the 2nd may have blanks.
 */
async function startOf(processId: number): Promise<string | undefined> {
  const stat = await readLine(`/proc/${processId}/stat`);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

/** In `ps` with the targets; in `pgrep` and for other receivers, which see 15 characters, without. */
export function nameProcess(targets: readonly string[]): void {
  process.title = `${PROCESS_NAME}: ${targets.join(' ')}`;
  try {
    writeFileSync('/proc/self/comm', PROCESS_NAME);
  } catch {
    // A /proc that can't be written to: the name is the title's beginning then.
  }
}
