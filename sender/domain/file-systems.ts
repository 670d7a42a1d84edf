/**
 * The file systems whose free areas partclone(8) knows: which of its programs is asked, and whether the file
 * system is clean. A map of one that is not is wrong, and partclone does not always see that.
 */
import type { FileHandle } from 'node:fs/promises';
import { errnoOf } from '../../common/errors.ts';
import { runTool, TOOL_FILE } from '../../common/system-tools.ts';

export interface FileSystem {
  readonly partclone: string;
  /** @returns why it cannot be relied on, as the end of a sentence; undefined: it is clean. */
  uncleanness(handle: FileHandle): Promise<string | undefined>;
}

/** A program that has to be installed. */
export class MissingTool extends Error {
  readonly debianPackage: string;

  constructor(tool: string, debianPackage: string, cause: unknown) {
    super(`the program ${tool} is not installed, or may not be run`, { cause });
    this.debianPackage = debianPackage;
  }
}

const NOT_UNMOUNTED = 'was not unmounted cleanly';
/** partclone checks these itself. */
const ASK_NOTHING = async (): Promise<undefined> => await Promise.resolve(undefined);

/** By the names that wipefs(8) has for them. */
export const FILE_SYSTEMS: Readonly<Record<string, FileSystem>> = {
  ext2: { partclone: 'partclone.extfs', uncleanness: extUncleanness },
  ext3: { partclone: 'partclone.extfs', uncleanness: extUncleanness },
  ext4: { partclone: 'partclone.extfs', uncleanness: extUncleanness },
  xfs: { partclone: 'partclone.xfs', uncleanness: xfsUncleanness },
  vfat: { partclone: 'partclone.vfat', uncleanness: fatUncleanness },
  ntfs: { partclone: 'partclone.ntfs', uncleanness: ASK_NOTHING },
  btrfs: { partclone: 'partclone.btrfs', uncleanness: btrfsUncleanness },
};

/** Runs a program on an open device. @throws MissingTool */
export async function runOn(
  handle: FileHandle,
  [tool, debianPackage]: readonly [tool: string, debianPackage: string],
  args: readonly string[],
  timeoutMs: number,
): ReturnType<typeof runTool> {
  try {
    return await runTool(tool, args, { handle, timeoutMs });
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'EACCES') throw new MissingTool(tool, debianPackage, error);
    throw error;
  }
}

async function bytesAt(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  await handle.read(bytes, 0, length, offset);
  return bytes;
}

/** The superblock (Documentation/filesystems/ext4/super.rst): s_state, s_feature_incompat. */
const EXT_SUPERBLOCK_OFFSET = 1024;
const EXT_VALID = 1;
const EXT_NEEDS_RECOVERY = 4;

async function extUncleanness(handle: FileHandle): Promise<string | undefined> {
  const superblock = await bytesAt(handle, EXT_SUPERBLOCK_OFFSET, 1024);
  // With a journal the state stays valid while it is mounted, and after a crash.
  if ((superblock.readUInt32LE(0x60) & EXT_NEEDS_RECOVERY) !== 0) return NOT_UNMOUNTED;
  return superblock.readUInt16LE(0x3a) === EXT_VALID ? undefined : `${NOT_UNMOUNTED}, or has errors`;
}

const XFS_LOG_TIMEOUT_MS = 60_000;

/** Free space that is only in the log is not in the map: partclone.xfs does not look. */
async function xfsUncleanness(handle: FileHandle): Promise<string | undefined> {
  const tool = ['xfs_logprint', 'xfsprogs'] as const;
  const { output } = await runOn(handle, tool, ['-t', TOOL_FILE], XFS_LOG_TIMEOUT_MS);
  return /^\s+log tail: .* state: <CLEAN>$/m.test(output) ? undefined : NOT_UNMOUNTED;
}

/** The state in the boot sector, which Linux sets; partclone.vfat looks at the one in the table. */
async function fatUncleanness(handle: FileHandle): Promise<string | undefined> {
  const boot = await bytesAt(handle, 0, 512);
  const isFat32 = boot.readUInt16LE(22) === 0;
  return (boot.readUInt8(isFat32 ? 0x41 : 0x25) & 1) === 0 ? undefined : NOT_UNMOUNTED;
}

/** The superblock (fs/btrfs, struct btrfs_super_block): log_root, num_devices. */
const BTRFS_SUPERBLOCK_OFFSET = 64 * 1024;

/** What was synced since the last commit is in a log, which is in no map of partclone.btrfs. */
async function btrfsUncleanness(handle: FileHandle): Promise<string | undefined> {
  const superblock = await bytesAt(handle, BTRFS_SUPERBLOCK_OFFSET, 4096);
  if (superblock.readBigUInt64LE(0x60) !== 0n) return NOT_UNMOUNTED;
  const count = superblock.readBigUInt64LE(0x88);
  return count === 1n ? undefined : `lies on ${count} devices`;
}
