/**
 * Block devices that do wrong on command: nbdkit serves a medium (a file), nbdfuse makes it a file again,
 * and a loop device with direct I/O makes that a disk, so that no page cache of ours hides what it does.
 * For root only.
 */
import { existsSync } from 'node:fs';
import { rename, stat, truncate, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { skipUnlessLoop } from './loop-device.ts';
import { until } from './processes.ts';
import { notWorking, unlessInstalled } from './requires.ts';
import { run, runOk, start, type Started } from './run.ts';
import { tempDir } from './temp-dir.ts';

/** `lies`: the disk says yes and does something else. `fails`: it says no. */
export type Fault =
  | 'drop-lies'
  | 'torn-lies'
  | 'misdirect-lies'
  | 'flip-lies'
  | 'flip-read-lies'
  | 'write-fails'
  | 'read-fails'
  | 'flush-fails';

export interface Rule {
  readonly fault: Fault;
  /** Requests that touch any of these bytes; for a flush without meaning. Default: all. */
  readonly from?: number;
  readonly end?: number;
  /** How often; default for ever. */
  readonly times?: number;
  /** Where a misdirected write goes. */
  readonly place?: number;
}

export interface NbdDisk extends AsyncDisposable {
  /** `/dev/loop7` */
  readonly path: string;
  /** The same as a regular file. */
  readonly file: string;
  /** What really is on the disk. */
  readonly medium: string;
  /** Whatever the disk kept in its memory is gone; afterwards nothing works but disposing. */
  cutPower(): Promise<void>;
}

export interface FaultDisk extends NbdDisk {
  setFault(rule: Rule | undefined): Promise<void>;
}

const FOR_EVER = 1_000_000_000;

/**
 * nbdkit-sh-plugin(3): $1 is the call, $3 the length, $4 the offset. The file `rule` says what goes wrong.
 * One request at a time, or two of them would count as one.
 */
const PLUGIN = String.raw`#!/bin/bash
D=$(dirname "$0"); F=$D/medium
put() { dd of="$F" oflag=seek_bytes seek="$1" bs=1M iflag=fullblock conv=notrunc status=none; }
get() { dd if="$F" iflag=skip_bytes,count_bytes skip="$1" count="$2" bs=1M status=none; }
flip() { local b=$(od -An -tu1 -j "$1" -N 1 "$2"); printf "\\x$(printf %02x $((b ^ 1)))" |
  dd of="$2" oflag=seek_bytes seek="$1" conv=notrunc status=none; }
fault=none
if [ -e "$D/rule" ] && [[ $1 = pwrite || $1 = pread || $1 = flush ]]; then
  read -r fault from end times place < "$D/rule"
  case $1-$fault in pwrite-flip-read-lies|pwrite-read-fails) fault=none;;
    pwrite-*lies|pwrite-write-fails|pread-read-fails|pread-flip-read-lies|flush-flush-fails) ;;
    *) fault=none;; esac
  if [ $1 != flush ] && { (( $4 >= end )) || (( $4 + $3 <= from )); }; then fault=none; fi
  if [ $fault != none ]; then
    if (( times == 1 )); then rm "$D/rule"
    else echo "$fault $from $end $((times - 1)) $place" > "$D/rule"; fi
    echo "$fault $4 $3" >> "$D/done"
  fi
fi
case $1 in
  thread_model) echo serialize_all_requests;;
  get_size) stat -c %s "$F";;
  can_write|can_flush) exit 0;;
  flush) [ $fault = flush-fails ] && { echo EIO flush >&2; exit 1; }; exit 0;;
  pread) case $fault in
    read-fails) echo EIO read >&2; exit 1;;
    flip-read-lies) get $4 $3 > "$D/read"; flip $(($3 / 2)) "$D/read"; cat "$D/read";;
    *) get $4 $3;; esac;;
  pwrite) case $fault in
    drop-lies) cat > /dev/null;;
    torn-lies) head -c $(($3 / 2)) | put $4; cat > /dev/null;;
    misdirect-lies) put $place;;
    flip-lies) put $4; flip $(($4 + $3 / 2)) "$F";;
    write-fails) cat > /dev/null; echo EIO write >&2; exit 1;;
    *) put $4;; esac;;
  *) exit 2;;
esac
`;

/** A disk of zeros whose single requests go wrong as told. */
export async function faultDisk(sizeBytes: number): Promise<FaultDisk> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const script = join(folder.path, 'plugin');
  await writeFile(script, PLUGIN, { mode: 0o755 });
  const disk = stack.use(await nbdDisk(folder.path, sizeBytes, ['sh', script]));
  const owned = stack.move();
  return {
    path: disk.path,
    file: disk.file,
    medium: disk.medium,
    cutPower: async () => await disk.cutPower(),
    setFault: async (rule) => await writeRule(join(folder.path, 'rule'), rule),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

/** The plugin must never see half a rule. */
async function writeRule(path: string, rule: Rule | undefined): Promise<void> {
  if (rule === undefined) {
    await run('rm', ['-f', path]);
    return;
  }
  const { fault, from = 0, end = Number.MAX_SAFE_INTEGER, times = FOR_EVER, place = 0 } = rule;
  await writeFile(`${path}.new`, `${fault} ${from} ${end} ${times} ${place}\n`);
  await rename(`${path}.new`, path);
}

/** A disk with a write cache in its memory, which a flush empties and which a power cut loses. */
export async function cachingDisk(medium: { folder: string; sizeBytes: number }): Promise<NbdDisk> {
  const { folder, sizeBytes } = medium;
  return await nbdDisk(folder, sizeBytes, [
    '--filter=cache',
    'file',
    join(folder, 'medium'),
    'cache=writeback',
  ]);
}

/**
 * The medium is made unless it is there already.
 * @param plugin of nbdkit, and what it is told. @param loop more options for losetup(8).
 */
export async function nbdDisk(
  folder: string,
  sizeBytes: number,
  plugin: readonly string[],
  loop: readonly string[] = [],
): Promise<NbdDisk> {
  await using stack = new AsyncDisposableStack();
  const medium = join(folder, 'medium');
  await writeFile(medium, '', { flag: 'a' });
  await truncate(medium, sizeBytes);
  // nbdkit refuses a socket that a killed one left behind.
  const place = stack.use(await tempDir());
  const socket = join(place.path, 'socket');
  const serving = ['--foreground', '--threads', '32', '--unix', socket];
  const server = stack.use(await start('nbdkit', [...serving, ...plugin]));
  await made(server, socket);
  // The name is there from bind(2) on; only listen(2) makes it answer.
  await until(`${socket} to answer`, async () => await answers(socket));
  stack.defer(async () => void (await run('umount', ['--lazy', place.path])));
  // As many requests at once as there are connections, where the plugin takes several.
  const mount = ['--connections', '16', join(place.path, 'nbd'), '--unix', socket];
  const fuse = stack.use(await start('nbdfuse', mount));
  const file = join(place.path, 'nbd');
  await made(fuse, file);
  const attach = ['--find', '--show', '--direct-io=on', ...loop, file];
  const path = (await runOk('losetup', attach)).trim();
  stack.defer(async () => void (await run('losetup', ['--detach', path])));
  const owned = stack.move();
  return {
    path,
    file,
    medium,
    cutPower: async () => {
      server.killGroup('SIGKILL');
      await server.ended;
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

async function answers(socket: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const connection = connect(socket);
    connection.once('connect', () => resolve(true)).once('error', () => resolve(false));
    connection.once('connect', () => connection.destroy());
  });
}

/** Waits for what a process makes. */
async function made(owner: Started, path: string): Promise<void> {
  const isFile = async (): Promise<boolean> =>
    await stat(path).then(
      () => true,
      () => false,
    );
  const failed = owner.ended.then(({ stderr }) => {
    throw new Error(`what makes ${path} has ended: ${stderr}`);
  });
  await Promise.race([until(path, isFile), failed]);
}

/** For `skip`: false where such disks work. */
export const skipUnlessFaultDisk: string | false =
  skipUnlessLoop || unlessInstalled('nbdkit', 'nbdfuse', 'fusermount3') || whyNoFuse();

function whyNoFuse(): string | false {
  return !existsSync('/dev/fuse') && notWorking('FUSE', 'there is no /dev/fuse');
}
