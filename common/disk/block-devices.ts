/**
 * How Linux shows block devices (sysfs(5)) and how util-linux is asked; the ground that disks.ts,
 * disk-content.ts and disk-uses.ts stand on. Names and labels come from disks that may be hostile: control
 * characters end here.
 */
import { execFile } from 'node:child_process';
import { readFile, readdir, realpath } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';
import { errnoOf } from '../errors.ts';

export const SYS_FOLDER = '/sys';
/** A dying disk can keep a probe waiting; a healthy one answers at once. */
const TOOL_TIMEOUT_MS = 60_000;

/** `8:16` of a device number, as glibc's gnu_dev_major and gnu_dev_minor take it apart (makedev(3)). */
export function majorMinorOf(deviceNumber: bigint): string {
  const major = ((deviceNumber >> 8n) & 0xfffn) | ((deviceNumber >> 32n) & 0xfffff000n);
  const minor = (deviceNumber & 0xffn) | ((deviceNumber >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** The device's own folder in sysfs; that of a partition lies in that of its disk. */
export async function deviceFolderOf(majorMinor: string, sysFolder = SYS_FOLDER): Promise<string> {
  return realpath(`${sysFolder}/dev/block/${majorMinor}`);
}

async function isPartition(deviceFolder: string): Promise<boolean> {
  return (await readLine(`${deviceFolder}/partition`)) !== null;
}

/** The folder of the whole disk, which a disk is itself. */
export async function diskFolderOf(deviceFolder: string): Promise<string> {
  return (await isPartition(deviceFolder)) ? dirname(deviceFolder) : deviceFolder;
}

/** The folders of its partitions, by number; none for a partition. */
export async function partitionFoldersOf(deviceFolder: string): Promise<string[]> {
  const found: { folder: string; number: number }[] = [];
  for (const name of await namesIn(deviceFolder)) {
    const folder = `${deviceFolder}/${name}`;
    const number = name.startsWith(basename(deviceFolder)) ? await readLine(`${folder}/partition`) : null;
    if (number !== null) found.push({ folder, number: Number(number) });
  }
  return found.sort((a, b) => a.number - b.number).map((partition) => partition.folder);
}

/** `/dev/sda1`, the node that the kernel itself makes. */
export async function nodeOf(deviceFolder: string): Promise<string> {
  const name = /^DEVNAME=(.+)$/m.exec((await readText(`${deviceFolder}/uevent`)) ?? '')?.[1];
  // The kernel writes `/` as `!` in folder names (cciss!c0d0).
  return `/dev/${name ?? basename(deviceFolder).replaceAll('!', '/')}`;
}

/** The names in a folder, sorted; none when it cannot be read. */
export async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.sort((a, b) => (a < b ? -1 : 1));
}

/** The whole text of a small file, or null when it cannot be read. */
export async function readText(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}

/** A file of one line, fit for people; null when it is empty or cannot be read. */
export async function readLine(path: string): Promise<string | null> {
  return printable(await readText(path));
}

/** Text fit for a terminal: no control characters, single spaces; null when nothing remains. */
export function printable(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const text = value.replace(/[\p{C}\p{Z}]+/gu, ' ').trim();
  return text === '' ? null : text;
}

/** What to try when something was not permitted: nothing more for root. */
export function hintOfPermission(): { hint: string } | undefined {
  return process.geteuid?.() === 0 ? undefined : { hint: 'run the command as root, for example with sudo' };
}

/**
 * Runs a program of util-linux that answers in JSON.
 * @returns the rows under `key`. @throws Error with errno ENOENT when it is not installed, else with its
 * complaint.
 */
export async function askTool(
  tool: string,
  args: readonly string[],
  key: string,
): Promise<Readonly<Record<string, unknown>>[]> {
  // Users other than root often lack the folders of the administrator's programs.
  const env = { LC_ALL: 'C', PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin` };
  const options = { env, timeout: TOOL_TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 };
  try {
    const { stdout } = await promisify(execFile)(tool, args, options);
    const answer: unknown = JSON.parse(stdout === '' ? '{}' : stdout);
    const rows = isRecord(answer) ? answer[key] : undefined;
    return Array.isArray(rows) ? rows.filter(isRecord) : [];
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw error;
    const complaint = error instanceof Error && 'stderr' in error ? printable(error.stderr) : null;
    throw new Error(complaint ?? `${tool} failed`, { cause: error });
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
