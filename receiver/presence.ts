/**
 * A small file beside a journal, for as long as a receiver has that open: who it is and how far it is.
 * SQLite's exclusive lock keeps everybody else from reading the journal itself.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readLine } from '../common/disk/block-devices.ts';
import type { TransferSummary } from './transfer-summary.ts';

/** Of this process in `ps` and `pgrep`, and in the messages of others that find the target open. */
export const PROCESS_NAME = 'ddt-receive';

const FILE_NAME = 'receiver.json';
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
    const presence = JSON.parse(await readFile(join(folder, FILE_NAME), 'utf8')) as Presence;
    const start = await startOf(presence.processId);
    return start !== undefined && start === presence.processStart ? presence : undefined;
  } catch {
    return undefined;
  }
}

/**
 * In clock ticks since the machine was booted, the 22nd field of proc_pid_stat(5); the 2nd may have blanks.
 */
async function startOf(processId: number): Promise<string | undefined> {
  const stat = await readLine(`/proc/${processId}/stat`);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}
