/** Real block devices of any size, out of sparse files; for root only. */
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, runOk } from './run.ts';
import { tempDir, type TempDir } from './temp-dir.ts';

export interface LoopDevice extends AsyncDisposable {
  /** `/dev/loop7` */
  readonly path: string;
  readonly backingFile: string;
}

export interface LoopDeviceOptions {
  /** Logical sectors: 512, the default, to 4096. */
  readonly sectorBytes?: number;
  /** Passes the page cache below too; without it an O_DIRECT read of the loop can come from memory. */
  readonly directIo?: boolean;
  readonly isReadOnly?: boolean;
}

/** A new device full of zeros. It must not be mounted any more when it is disposed. */
export async function loopDevice(sizeBytes: number, options: LoopDeviceOptions = {}): Promise<LoopDevice> {
  const folder = await tempDir();
  const backingFile = join(folder.path, 'disk');
  await writeFile(backingFile, '');
  await truncate(backingFile, sizeBytes);
  const flags = [
    ...(options.sectorBytes === undefined ? [] : ['--sector-size', String(options.sectorBytes)]),
    ...(options.directIo === true ? ['--direct-io=on'] : []),
    ...(options.isReadOnly === true ? ['--read-only'] : []),
  ];
  const attaching = await run('losetup', ['--find', '--show', ...flags, backingFile]);
  if (attaching.status !== 0) {
    await folder[Symbol.asyncDispose]();
    throw new Error(`losetup made no device: ${attaching.stderr}`);
  }
  const path = attaching.stdout.trim();
  return {
    path,
    backingFile,
    async [Symbol.asyncDispose]() {
      // Partitions that partx made stay behind otherwise, and the next user of the number finds them.
      await run('partx', ['--delete', path]);
      // So would the mark of `blockdev --setro`.
      await run('blockdev', ['--setrw', path]);
      await runOk('losetup', ['--detach', path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/**
 * Two partitions, of 8 MiB and of the rest, and their devices: kernels without partition tables need
 * partx(8).
 */
export async function partition(device: string, label: 'gpt' | 'dos'): Promise<[string, string]> {
  await runOk('sfdisk', ['--quiet', '--no-reread', '--no-tell-kernel', device], {
    input: `label: ${label}\nsize=8MiB\nsize=+\n`,
  });
  await run('partx', ['--update', device]);
  return [`${device}p1`, `${device}p2`];
}

/** Mounts a device that has a file system; unmounts it when disposed. */
export async function mounted(device: string, options: readonly string[] = []): Promise<TempDir> {
  const folder = await tempDir();
  await runOk('mount', [...options, device, folder.path]);
  return {
    path: folder.path,
    async [Symbol.asyncDispose]() {
      await runOk('umount', [folder.path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** For node:test's `skip`: false when loop devices work here, else why they do not. */
export const skipUnlessLoop: string | false = await whyNoLoopDevices();

async function whyNoLoopDevices(): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'loop devices need root';
  try {
    await using device = await loopDevice(1024 * 1024);
    return device.path === '' ? 'losetup made no device' : false;
  } catch (error) {
    return `loop devices do not work here: ${String(error)}`;
  }
}

/** As {@link skipUnlessLoop}, for what needs partitions too. */
export const skipUnlessPartitions: string | false = skipUnlessLoop || (await whyNoSfdisk());

async function whyNoSfdisk(): Promise<string | false> {
  const ended = await run('sfdisk', ['--version']).catch(() => null);
  return ended?.status === 0 ? false : 'sfdisk is not installed';
}
