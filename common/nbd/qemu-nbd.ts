/**
 * A qemu-nbd that serves one image to this process alone, on a Unix socket in a private folder. It is watched
 * by a shell, which starts it again when it is killed, and ends it and removes the folder when this process
 * ends, however that happens.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { TransferError, reasonOf } from '../errors.ts';
import { TOOL_FILE, toolPath } from '../system-tools.ts';
import { printable } from '../text.ts';
import type { ImageFormat } from './image-format.ts';
import { NbdExport } from './nbd-export.ts';

/** Until the socket is there; opening a large image takes a while. */
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const COMPLAINT_BYTES_MAX = 4096;
const SAID_CHARACTERS_MAX = 300;
const SOCKET_NAME = 'nbd';
/** It may be a receiver that has given up the rights of root: it can't search the folder above. */
const FOLDER_MODE = 0o711;

/**
 * Ends the server at SIGTERM, and starts it again when it ends. Signals of a terminal are for the
 * process that started all this. One that waits for Ceph to answer does not end; what was flushed is safe.
 */
const WATCH = String.raw`
trap '' HUP INT QUIT USR1 USR2
end() {
  kill "$server"
  tries=0
  while [ $tries -lt 100 ] && sleep 0.1 && kill -0 "$server"; do tries=$((tries + 1)); done
  kill -KILL "$server"
  wait "$server"
} 2>/dev/null
trap '[ -z "$server" ] || end; exit' TERM
umask 0
server=
while :; do
  setpriv --pdeathsig KILL -- "$@" &
  server=$!
  wait "$server"
  echo "ended $?"
  server=
  sleep 1 >/dev/null 2>&1 &
  wait $!
done`;

/** Waits for the end of standard input: that of the process which holds the other end. */
const GUARD = String.raw`
trap '' HUP INT QUIT USR1 USR2
folder=$1 watch=$2
shift 2
setpriv --pdeathsig TERM -- sh -c "$watch" sh "$@" </dev/null &
server=$!
trap '' TERM
read -r _
kill "$server"
wait "$server"
rm -rf -- "$folder"`;

/** What is to be served. */
export interface Served {
  /** For messages. */
  readonly name: string;
  /** As qemu-nbd takes it; {@link TOOL_FILE} is the file of `handle`. */
  readonly image: readonly string[];
  readonly handle: FileHandle | undefined;
  readonly isWritable: boolean;
}

/** A running server; disposing it closes the image, and waits for that. */
export class QemuNbd implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;
  #complaint = '';
  #status: number | undefined;

  /** @throws TransferError `connection-failed`. */
  static async serve(served: Served): Promise<{ server: QemuNbd; disk: NbdExport }> {
    const above = await mkdtemp(join(tmpdir(), 'ddt-nbd-'));
    const path = join(above, 'socket');
    let server: QemuNbd | undefined;
    try {
      await mkdir(path);
      await chmod(path, FOLDER_MODE);
      server = new QemuNbd(served, above, join(path, SOCKET_NAME));
      return { server, disk: await server.#open(served.name, join(path, SOCKET_NAME)) };
    } catch (error) {
      await server?.[Symbol.asyncDispose]();
      await rm(above, { recursive: true, force: true });
      if (error instanceof TransferError) throw error;
      throw new TransferError('connection-failed', `cannot open ${served.name}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
  }

  private constructor(served: Served, above: string, socket: string) {
    const command = ['qemu-nbd', ...argumentsFor(served, socket)];
    const child = spawn('/bin/sh', ['-c', GUARD, 'sh', above, WATCH, ...command], {
      env: { ...environmentOfCeph(), LC_ALL: 'C', PATH: toolPath(process.env['PATH']) },
      // Of its own session: Ctrl-C must not end it before the last request.
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe', served.handle?.fd ?? 'ignore'],
    });
    this.#child = child;
    this.#closed = new Promise((resolve) => {
      child.once('close', () => resolve());
      child.once('error', () => resolve());
    });
    child.stdin?.on('error', () => {});
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-COMPLAINT_BYTES_MAX);
    });
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        this.#status = Number(/^ended (\d+)$/.exec(line)?.[1] ?? NaN);
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    await this.#closed;
  }

  async #open(name: string, path: string): Promise<NbdExport> {
    const endMs = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      try {
        return await NbdExport.open({ exportName: '', tls: undefined, place: { path }, name });
      } catch (error) {
        if (this.#status !== undefined) throw this.#failed(name);
        if (performance.now() > endMs) throw error;
      }
      await delay(POLL_MS);
    }
  }

  #failed(name: string): TransferError {
    const isMissing = this.#status === 127;
    const said = saidIn(this.#complaint).replaceAll(TOOL_FILE, name);
    const reason = isMissing ? 'the program qemu-nbd is not installed' : said;
    const hint = isMissing
      ? 'apt-get install qemu-utils, or dnf install qemu-img'
      : /^qemu: module|Unknown (protocol|driver)/.test(said)
        ? 'apt-get install qemu-block-extra, or dnf install qemu-block-rbd'
        : / lock\b/.test(said)
          ? 'stop the virtual machine or the process that uses it'
          : undefined;
    return new TransferError('connection-failed', `cannot open ${name}: ${reason}`, {
      ...(hint !== undefined && { hint }),
    });
  }
}

/** Where librados looks for its configuration. */
function environmentOfCeph(): NodeJS.ProcessEnv {
  const { HOME, CEPH_CONF, CEPH_ARGS } = process.env;
  return { HOME, CEPH_CONF, CEPH_ARGS };
}

/** In one line, without what it says at the next attempt. */
function saidIn(complaint: string): string {
  const [said = ''] = complaint.split(/^qemu-nbd: /m).filter((part) => part.trim() !== '');
  const text = said.replace(/^Failed to blk_new_open '.*': /, '').trim();
  return printable(text.replaceAll(/\s+/g, ' ')).slice(0, SAID_CHARACTERS_MAX);
}

/** No format is guessed, and nothing is kept in a cache of this machine. */
function argumentsFor({ image, isWritable }: Served, socket: string): string[] {
  const always = ['--socket', socket, '--persistent', '--shared', '8', '--cache', 'none'];
  const access = isWritable ? ['--discard', 'unmap'] : ['--read-only'];
  return [...always, ...access, ...image];
}

/** Of the open file, and of no other that it may name. */
export function imageOfFile(format: ImageFormat): readonly string[] {
  const file = { driver: 'file', filename: TOOL_FILE };
  const canBeBased = format === 'qcow2' || format === 'vmdk';
  return [`json:${JSON.stringify({ driver: format, file, ...(canBeBased && { backing: null }) })}`];
}
