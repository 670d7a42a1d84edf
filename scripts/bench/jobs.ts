/** The disks that `bench:local` copies, and the tools that copy each of them. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BLOCK_SIZE_BYTES_DEFAULT } from '../../common/geometry.ts';
import { SCRIPTS } from '../../test/support/processes.ts';
import { runTool } from '../run-script.ts';
import type { CopyJob, Peer } from './copy.ts';
import { leaveUnsealed } from './first-run.ts';
import {
  ddAlone,
  ddNc,
  ddSsh,
  ddt,
  nbdcopy,
  nbdcopyCompared,
  qemuImg,
  rsync,
  type DdtOptions,
} from './peers.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const AES = '-c aes128-gcm@openssh.com';
/** One part in this many of the sparse disk is data, in this many extents. */
const SPARSE_PARTS = 64;
/** Before the second run, one block in this many has changed. */
const CHANGED_ONE_IN = 100;

/** One way to do a job. */
export interface Contender {
  readonly peer: Peer;
  /** Runs before the copy, untimed, in place of the job's own `makeTarget`. */
  readonly prepare?: () => Promise<void>;
}

export interface DiskJob {
  readonly name: string;
  readonly sizeBytes: number;
  /** Follows the size in a sentence. */
  readonly describe: string;
  readonly makeSource: (job: CopyJob) => Promise<void>;
  /** Source and target are loop devices with direct I/O; the target is filled before the first copy. */
  readonly isOnDevices?: boolean;
  /** The target as each tool finds it. */
  readonly makeTarget: (job: CopyJob) => Promise<void>;
  /** Plus a ddt for each entry of `extra`. The others are compared with the first contender. */
  readonly contenders: (job: CopyJob, extra: ReadonlyMap<string, DdtOptions>) => readonly Contender[];
}

async function makeRandom({ source, sizeBytes, signal }: CopyJob): Promise<void> {
  const count = [`count=${sizeBytes}`, 'iflag=fullblock,count_bytes', 'conv=fsync', 'status=none'];
  await runTool('dd', ['if=/dev/urandom', `of=${source}`, 'bs=4M', ...count], signal);
}

async function makeImage({ source, sizeBytes, signal }: CopyJob): Promise<void> {
  await runTool(join(SCRIPTS, 'make-image'), [source, String(sizeBytes)], signal);
}

async function makeSparse({ source, sizeBytes, signal }: CopyJob): Promise<void> {
  await using handle = await open(source, 'w');
  await handle.truncate(sizeBytes);
  const partBytes = Math.floor(sizeBytes / SPARSE_PARTS);
  const extentBytes = Math.floor(partBytes / SPARSE_PARTS);
  for (let part = 0; part < SPARSE_PARTS; part++) {
    signal.throwIfAborted();
    await handle.write(randomBytes(extentBytes), 0, extentBytes, part * partBytes);
  }
  await handle.sync();
}

/** The source, and beside it an older state of it. */
async function makeTwice(job: CopyJob): Promise<void> {
  await makeRandom(job);
  await runTool('cp', ['--reflink=never', job.source, oldOf(job)], job.signal);
  await using handle = await open(oldOf(job), 'r+');
  const blockCount = Math.floor(job.sizeBytes / BLOCK_SIZE_BYTES_DEFAULT);
  for (let index = 0; index < blockCount; index += CHANGED_ONE_IN) {
    const bytes = randomBytes(BLOCK_SIZE_BYTES_DEFAULT);
    await handle.write(bytes, 0, bytes.length, index * bytes.length);
  }
  await handle.sync();
}

function oldOf({ folder }: CopyJob): string {
  return join(folder, 'old');
}

async function removeTarget({ target }: CopyJob): Promise<void> {
  await rm(target, { force: true });
}

async function copyOld(job: CopyJob): Promise<void> {
  await removeTarget(job);
  await runTool('cp', ['--reflink=never', oldOf(job), job.target], job.signal);
}

function ddts(extra: ReadonlyMap<string, DdtOptions>): Contender[] {
  return [
    { peer: ddt('ddt') },
    { peer: ddt('ddt --verify none', { receive: ['--verify', 'none'] }) },
    ...[...extra].map(([name, options]) => ({ peer: ddt(name, options) })),
  ];
}

/** Onto a new file, where zeros need not be written: each tool gets its option for that. */
function onNewFile(hasZeros: boolean): DiskJob['contenders'] {
  const [sparse, option] = hasZeros ? [',sparse', ' -S'] : ['', ''];
  const peers = [
    nbdcopy('nbdcopy, TLS, 4 connections', ['--destination-is-zero']),
    ddSsh('dd | ssh dd, AES-128-GCM', AES, sparse),
    ddNc('dd | nc, not encrypted', undefined, sparse),
    rsync(`rsync -W${option} over ssh`, `-W${option}`),
    qemuImg('qemu-img convert, NBD over TLS', ['--target-is-zero']),
    ddAlone('dd, no network', sparse),
  ];
  return (_job, extra) => [...ddts(extra), ...peers.map((peer) => ({ peer }))];
}

/** As its users tune it: requests of 4 MiB, and a server that leaves nothing in the page cache. */
const [NBD_TUNED, NBDKIT_TUNED] = [['--request-size=4194304'], ['cache=none']] as const;

/** Onto a device that is full of other bytes. */
function onDevice(_job: CopyJob, extra: ReadonlyMap<string, DdtOptions>): Contender[] {
  const receive = ['--overwrite-target'];
  const peers = [
    ddt('ddt', { receive }),
    ddt('ddt --verify none', { receive: [...receive, '--verify', 'none'] }),
    ...[...extra].map(([name, options]) =>
      ddt(name, { ...options, receive: [...receive, ...(options.receive ?? [])] }),
    ),
    nbdcopy('nbdcopy, TLS, 4 connections, tuned', NBD_TUNED, NBDKIT_TUNED),
    nbdcopyCompared('nbdcopy tuned, then dd iflag=direct | cmp', NBD_TUNED, NBDKIT_TUNED),
    nbdcopy('nbdcopy, TLS, 4 connections, default requests'),
    ddAlone('dd, direct I/O, no network', '', 'iflag=direct oflag=direct'),
  ];
  return peers.map((peer) => ({ peer }));
}

/** Onto a target that holds an older state of the source. ddt can resume only what was not sealed. */
function onOldCopy(job: CopyJob, extra: ReadonlyMap<string, DdtOptions>): Contender[] {
  const folder = join(job.folder, 'unsealed');
  const prepare = async (): Promise<void> => {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder);
    await removeTarget(job);
    await leaveUnsealed({ ...job, folder, source: oldOf(job) });
  };
  const unsealed = ([name, options]: readonly [string, DdtOptions]): Contender => {
    return { peer: ddt(`${name}, first run not sealed`, { ...options, folder }), prepare };
  };
  const startOver = ['--discard-transfer', '--yes', '--overwrite-target'];
  const peers = [
    ddt('ddt, first run sealed: starts over', { receive: startOver }),
    rsync('rsync over ssh', ''),
    nbdcopy('nbdcopy, TLS, 4 connections'),
    ddSsh('dd | ssh dd, AES-128-GCM', AES),
    ddNc('dd | nc, not encrypted', undefined),
    qemuImg('qemu-img convert, NBD over TLS'),
    ddAlone('dd, no network'),
  ];
  return [...[['ddt', {}] as const, ...extra].map(unsealed), ...peers.map((peer) => ({ peer }))];
}

export const JOBS: readonly DiskJob[] = [
  {
    name: 'device',
    sizeBytes: 2 * GIB,
    describe: 'of random bytes, from device to device',
    isOnDevices: true,
    makeSource: makeRandom,
    makeTarget: async () => {},
    contenders: onDevice,
  },
  {
    name: 'random',
    sizeBytes: 2 * GIB,
    describe: 'of random bytes',
    makeSource: makeRandom,
    makeTarget: removeTarget,
    contenders: onNewFile(false),
  },
  {
    name: 'image',
    sizeBytes: 8 * GIB,
    describe: 'of a file-system image, half full',
    makeSource: makeImage,
    makeTarget: removeTarget,
    contenders: onNewFile(true),
  },
  {
    name: 'sparse',
    sizeBytes: 64 * GIB,
    describe: `of a sparse disk, one part in ${SPARSE_PARTS} random bytes`,
    makeSource: makeSparse,
    makeTarget: removeTarget,
    contenders: onNewFile(true),
  },
  {
    name: 'second',
    sizeBytes: 2 * GIB,
    describe: `of random bytes, a second run: one block of 4 MiB in ${CHANGED_ONE_IN} has changed`,
    makeSource: makeTwice,
    makeTarget: copyOld,
    contenders: onOldCopy,
  },
];

/** A smaller disk would only measure how long the programs take to start. */
export const SIZE_BYTES_MIN = 16 * MIB;
