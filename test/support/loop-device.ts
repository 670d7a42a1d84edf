/** Real block devices of any size, out of sparse files; for root only. */
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { notWorking, unlessInstalled, unlessRoot } from './requires.ts';
import { run, runOk, start, type Started } from './run.ts';
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

/**
 * A folder to mount on. Other tests run meanwhile, and their mount namespaces (`ip netns exec`, `unshare
 * --propagation slave`) begin with copies of all mounts there are, which keep a file system alive, and its
 * device in use: what is unmounted here is so in them too.
 */
export async function mountPoint(): Promise<TempDir> {
  const folder = await tempDir();
  await runOk('mount', ['--bind', folder.path, folder.path]);
  await runOk('mount', ['--make-shared', folder.path]);
  return {
    path: folder.path,
    async [Symbol.asyncDispose]() {
      await runOk('umount', [folder.path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Mounts a device that has a file system; unmounts it when disposed. */
export async function mounted(device: string, options: readonly string[] = []): Promise<TempDir> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await mountPoint());
  await runOk('mount', [...options, device, path]);
  stack.defer(async () => void (await runOk('umount', [path])));
  const owned = stack.move();
  return { path, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Mounts a device where only another process sees it, for as long as that one runs. */
export async function mountedElsewhere(device: string, place: string): Promise<Started> {
  const script = 'mount "$0" "$1" && echo mounted && exec cat';
  const apart = ['--mount', '--propagation', 'slave'];
  const other = await start('unshare', [...apart, 'sh', '-c', script, device, place]);
  await other.waitForLine(/^mounted$/);
  return other;
}

/** For `skip`: false where loop devices work; most tests also make file systems on them. */
export const skipUnlessLoop: string | false =
  unlessRoot || unlessInstalled('losetup', 'mkfs.ext4') || (await whyNoLoopDevices());

async function whyNoLoopDevices(): Promise<string | false> {
  try {
    await using device = await loopDevice(1024 * 1024);
    return device.path === '' && notWorking('losetup', 'it made no device');
  } catch (error) {
    return notWorking('losetup', error);
  }
}

/** As {@link skipUnlessLoop}, for tests that need partitions too. */
export const skipUnlessPartitions: string | false = skipUnlessLoop || unlessInstalled('sfdisk');
