/**
 * Block devices in sysfs(5), and how util-linux is run; what the other files of this folder are built on.
 * Names and labels may come from a hostile disk: control characters are removed here.
 */
import { isRecord } from '../records.ts';
import { readFile, readdir, realpath, type FileHandle } from 'node:fs/promises';
import { printable } from '../text.ts';
import { basename, dirname } from 'node:path';
import { runTool } from '../system-tools.ts';

export const SYS_FOLDER = '/sys';
/** A dying disk can delay a probe; a healthy one answers at once. */
const TOOL_TIMEOUT_MS = 60_000;

/** `8:16` from a device number, as glibc's gnu_dev_major and gnu_dev_minor decode it (makedev(3)). */
export function majorMinorOf(deviceNumber: bigint): string {
  const major = ((deviceNumber >> 8n) & 0xfffn) | ((deviceNumber >> 32n) & 0xfffff000n);
  const minor = (deviceNumber & 0xffn) | ((deviceNumber >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** The device's own folder in sysfs; a partition's is inside its disk's. */
export async function deviceFolderOf(majorMinor: string, sysFolder = SYS_FOLDER): Promise<string> {
  return realpath(`${sysFolder}/dev/block/${majorMinor}`);
}

async function isPartition(deviceFolder: string): Promise<boolean> {
  return (await readLine(`${deviceFolder}/partition`)) !== null;
}

/** The folder of the whole disk: its own, unless it is a partition. */
export async function diskFolderOf(deviceFolder: string): Promise<string> {
  return (await isPartition(deviceFolder)) ? dirname(deviceFolder) : deviceFolder;
}

/** The folders of its partitions, in the order of their numbers. */
export async function partitionFoldersOf(deviceFolder: string): Promise<string[]> {
  const found: { folder: string; number: number }[] = [];
  for (const name of await namesIn(deviceFolder)) {
    const folder = `${deviceFolder}/${name}`;
    const number = name.startsWith(basename(deviceFolder)) ? await readLine(`${folder}/partition`) : null;
    if (number !== null) found.push({ folder, number: Number(number) });
  }
  return found.sort((a, b) => a.number - b.number).map((partition) => partition.folder);
}

/** `/dev/sda1`, the node that the kernel creates. */
export async function nodeOf(deviceFolder: string): Promise<string> {
  const name = /^DEVNAME=(.+)$/m.exec((await readText(`${deviceFolder}/uevent`)) ?? '')?.[1];
  // The kernel writes `/` as `!` in folder names (cciss!c0d0).
  return `/dev/${name ?? basename(deviceFolder).replaceAll('!', '/')}`;
}

/** The names in a folder, sorted; none when it can't be read. */
export async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.sort((a, b) => (a < b ? -1 : 1));
}

/** The text of a small file, or null when it can't be read. */
export async function readText(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}

/** A file of one line, {@link labelOf}; null when it is empty or can't be read. */
export async function readLine(path: string): Promise<string | null> {
  return labelOf(await readText(path));
}

/** Text fit to be shown, on one line, with single spaces; null when nothing remains. */
export function labelOf(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const text = printable(value, ' ')
    .replace(/\p{Z}+/gu, ' ')
    .trim();
  return text === '' ? null : text;
}

/** What to try when something was not permitted; nothing for root. */
export function hintOfPermission(): { hint: string } | undefined {
  return process.geteuid?.() === 0 ? undefined : { hint: 'run the command as root, for example with sudo' };
}

/**
 * Runs a program of util-linux that prints JSON.
 * @param handle what it works on; `TOOL_FILE` is its path in the arguments.
 * @returns the rows under `key`. @throws Error with errno ENOENT when it is not installed, else with what it
 * printed on standard error.
 */
export async function askTool(
  tool: string,
  args: readonly string[],
  key: string,
  handle?: FileHandle,
): Promise<Readonly<Record<string, unknown>>[]> {
  const options = { timeoutMs: TOOL_TIMEOUT_MS, ...(handle !== undefined && { handle }) };
  const { isDone, output, complaint } = await runTool(tool, args, options);
  if (!isDone) throw new Error(labelOf(complaint) ?? `${tool} failed`);
  const answer = parsedOutput(tool, output);
  const rows = isRecord(answer) ? answer[key] : undefined;
  return Array.isArray(rows) ? rows.filter(isRecord) : [];
}

function parsedOutput(tool: string, output: string): unknown {
  try {
    return output === '' ? {} : JSON.parse(output);
  } catch (error) {
    throw new Error(`${tool} printed something else than JSON`, { cause: error });
  }
}
