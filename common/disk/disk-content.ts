/** What is on a disk, as util-linux recognises it, in words for people. */
import { open, type FileHandle } from 'node:fs/promises';
import {
  askTool,
  deviceFolderOf,
  hintOfPermission,
  majorMinorOf,
  nodeOf,
  partitionFoldersOf,
  labelOf,
  readLine,
} from './block-devices.ts';
import type { OpenDisk } from './open-disk.ts';
import { TOOL_FILE } from '../system-tools.ts';
import { TransferError, errnoOf, reasonOf, type ErrorCode } from '../errors.ts';

const MEANING_OF_TYPE: Readonly<Record<string, string>> = {
  LVM2_member: 'LVM2_member (LVM physical volume)',
  linux_raid_member: 'linux_raid_member (part of a RAID array)',
  crypto_LUKS: 'crypto_LUKS (encrypted volume)',
  swap: 'swap space',
};

/**
 * What wipefs(8) recognises on a device and on its partitions, or in a file: `gpt partition table`,
 * `partition 2: ext4 file system "data"`. Read from the disk itself, not from a cache. An empty list is no
 * proof that nothing is there.
 * @throws TransferError `code`.
 */
export async function contentOf(
  { description, handle }: OpenDisk,
  code: ErrorCode = 'target-refused',
): Promise<string[]> {
  const { path, majorMinor, sizeBytes } = description;
  try {
    if (majorMinor === null) return await signaturesOf(handle, path);
    // An empty card reader or unused zram: wipefs fails there without a message.
    if (sizeBytes === 0) return [];
    const found = await signaturesOf(handle, path);
    for (const partition of await partitionFoldersOf(await deviceFolderOf(majorMinor))) {
      const number = await readLine(`${partition}/partition`);
      for (const words of await signaturesOfPartition(partition)) {
        found.push(`partition ${number}: ${words}`);
      }
    }
    return found;
  } catch (error) {
    const isToolMissing = errnoOf(error) === 'ENOENT' && error instanceof Error && 'spawnargs' in error;
    const reason = isToolMissing ? 'the program wipefs of util-linux is not installed' : reasonOf(error);
    const hint = isToolMissing ? { hint: 'apt-get install util-linux' } : hintOfPermission();
    throw new TransferError(code, `cannot see what is on ${path}: ${reason}`, { cause: error, ...hint });
  }
}

async function signaturesOfPartition(folder: string): Promise<string[]> {
  const { node, handle } = await openPartition(folder);
  await using _open = handle;
  return await signaturesOf(handle, node);
}

/** The name of a type of wipefs(8), with what it means where that does not say it. */
export function meaningOf(type: string): string {
  return MEANING_OF_TYPE[type] ?? type;
}

/** What wipefs(8) recognises, as it names it. */
export interface Signature {
  /** `ext4`, `gpt`, `LVM2_member` */
  readonly type: string;
  /** `filesystem`, `partition-table`, `raid`, `crypto`, `other` */
  readonly usage: string;
}

/** Each once. @param name for messages. @throws Error with errno ENOENT where wipefs is not installed. */
export async function signaturesOn(handle: FileHandle, name: string): Promise<Signature[]> {
  const found = (await signatureRows(handle, name)).map((row): Signature => ({
    type: labelOf(row['type']) ?? 'unknown',
    usage: String(row['usage']),
  }));
  return found.filter(({ type }, at) => found.findIndex((each) => each.type === type) === at);
}

/** Opens a partition. @throws Error if its node is another device. */
export async function openPartition(folder: string): Promise<{ node: string; handle: FileHandle }> {
  const node = await nodeOf(folder);
  const handle = await open(node, 'r');
  const { rdev } = await handle.stat({ bigint: true });
  if (majorMinorOf(rdev) === (await readLine(`${folder}/dev`))) return { node, handle };
  await handle.close();
  throw new Error(`${node} is another device than the partition`);
}

/** @param name for messages. */
async function signaturesOf(handle: FileHandle, name: string): Promise<string[]> {
  const rows = await signatureRows(handle, name);
  const isGpt = rows.some((row) => row['type'] === 'gpt');
  // A GPT brings a protective MBR, and some signatures are on a disk more than once.
  return [...new Set(rows.filter((row) => !(isGpt && row['type'] === 'PMBR')).map(describeSignature))];
}

async function signatureRows(handle: FileHandle, name: string): Promise<Readonly<Record<string, unknown>>[]> {
  const args = ['--json', '--no-act', '--output', 'TYPE,USAGE,LABEL', '--', TOOL_FILE];
  return await askTool('wipefs', args, 'signatures', handle).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT' || !(error instanceof Error)) throw error;
    throw new Error(error.message.replaceAll(TOOL_FILE, name), { cause: error });
  });
}

function describeSignature(row: Readonly<Record<string, unknown>>): string {
  const type = labelOf(row['type']) ?? 'unknown';
  const label = labelOf(row['label']);
  const nouns: Readonly<Record<string, string>> = {
    filesystem: ' file system',
    'partition-table': ' partition table',
  };
  const words = MEANING_OF_TYPE[type] ?? type + (nouns[String(row['usage'])] ?? '');
  return label === null ? words : `${words} "${label}"`;
}
