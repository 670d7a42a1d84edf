/** One connection through ssh: an ssh of its own, whose standard input and output are the line. */
import { spawn } from 'node:child_process';
import { readFile, readdir, readlink } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Command } from './ssh-client.ts';

const COMPLAINT_BYTES_MAX = 4096;
/** What a login shell prints before the mark. */
const NOISE_BYTES_MAX = 64 * 1024;
/** A login, and the start of a program. */
const ENTER_MS_MAX = 60_000;
/** What ssh says last comes after its end of the line is closed. */
const LAST_WORDS_MS = 1000;

/** Another process that has the connection, and passes on what a socket of ours takes. */
export interface Carrier {
  /**
   * @param socket what it has taken in whole counts as written.
   * @param queueOf what a TCP socket of this machine holds, by its inode.
   */
  unackedBytes(
    socket: Pick<Socket, 'bytesWritten' | 'writableLength'>,
    queueOf: (inode: string) => Promise<number | undefined>,
  ): Promise<number | undefined>;
}

type UnackedArguments = Parameters<Carrier['unackedBytes']>;
type QueueOf = UnackedArguments[1];

export class SshLane implements Carrier {
  readonly socket: Socket;
  readonly #processId: number | undefined;
  #complaint = '';
  readonly #ended: Promise<void>;
  #owner: { readonly processId: number; readonly inode: string } | undefined;
  /** What ssh has sent beyond what it was given: keys, and the frame of each packet. */
  #overheadBytes = 0;

  constructor({ program, args }: Command) {
    // Descriptor 3 is one end of a pair of sockets; as standard input it would be open only one way.
    const both = ['-c', 'exec "$@" <&3 >&3 3>&-', 'sh', program, ...args];
    // In a session of its own Ctrl-C does not reach it: it ends with its socket.
    const child = spawn('/bin/sh', both, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], detached: true });
    const [, , stderr, line] = child.stdio;
    if (!(line instanceof Socket)) throw new Error('the line of a child process is a socket');
    this.socket = line;
    this.#processId = child.pid;
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-COMPLAINT_BYTES_MAX);
    });
    line.on('error', () => {});
    line.once('close', () => child.kill());
    this.#ended = new Promise((resolve) => child.once('error', resolve).once('close', resolve));
    void this.#ended.then(() => line.destroy());
  }

  /**
   * Sends this, and drops what comes until a line is the mark.
   * @throws Error when it ends before, or takes too long.
   */
  async enter(bytes: Buffer, mark: string): Promise<void> {
    const { socket } = this;
    const entered = Promise.withResolvers<void>();
    const fail = (): void => entered.reject(new Error('the program there did not start'));
    let seen = '';
    const look = (chunk: Buffer): void => {
      seen = (seen + chunk.toString('latin1')).slice(-NOISE_BYTES_MAX);
      if (seen.endsWith(`\n${mark}\n`)) entered.resolve();
    };
    const timer = setTimeout(fail, ENTER_MS_MAX);
    socket.on('data', look).once('close', fail);
    socket.write(bytes);
    try {
      await entered.promise;
    } finally {
      clearTimeout(timer);
      socket.off('data', look).off('close', fail);
      socket.pause();
    }
  }

  /** What ssh has said, once it has ended; what it has said so far where it does not end. */
  async lastWords(): Promise<string> {
    const timer = Promise.withResolvers<void>();
    const timeout = setTimeout(timer.resolve, LAST_WORDS_MS);
    await Promise.race([this.#ended, timer.promise]);
    clearTimeout(timeout);
    return this.#complaint;
  }

  /** Part of it waits in ssh. @returns undefined where that cannot be seen, as behind a master connection. */
  async unackedBytes(...[taken, queueOf]: UnackedArguments): Promise<number | undefined> {
    // Of two that ask at the same time, one may find a process that has ended meanwhile.
    const owner = this.#owner ?? (await findOwner(this.#processId, queueOf));
    if (owner === undefined) return undefined;
    this.#owner = owner;
    const queued = await queueOf(owner.inode);
    const sent = await bytesWrittenBy(owner.processId);
    if (queued === undefined || sent === undefined) return undefined;
    const arrived = sent - queued - this.socket.bytesRead;
    // Of the chunk that is being taken, part may have left already.
    this.#overheadBytes = Math.max(this.#overheadBytes, arrived - taken.bytesWritten);
    const written = taken.bytesWritten - taken.writableLength;
    return Math.max(0, written - (arrived - this.#overheadBytes));
  }
}

interface Owner {
  readonly processId: number;
  readonly inode: string;
}

/** The process itself, or the one that it reaches a jump host with. */
async function findOwner(processId: number | undefined, queueOf: QueueOf): Promise<Owner | undefined> {
  if (processId === undefined) return undefined;
  const folder = `/proc/${processId}/fd`;
  for (const name of await readdir(folder).catch(() => [])) {
    const link = await readlink(`${folder}/${name}`).catch(() => '');
    const [, inode] = /^socket:\[(\d+)\]$/.exec(link) ?? [];
    if (inode !== undefined && (await queueOf(inode)) !== undefined) return { processId, inode };
  }
  const children = await readFile(`/proc/${processId}/task/${processId}/children`, 'utf8').catch(() => '');
  for (const child of children.trim().split(' ')) {
    const found = child === '' ? undefined : await findOwner(Number(child), queueOf);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** To its connection and to its standard output (proc_pid_io(5)). */
async function bytesWrittenBy(processId: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${processId}/io`, 'utf8').catch(() => '');
  const [, bytes] = /^wchar: (\d+)$/m.exec(text) ?? [];
  return bytes === undefined ? undefined : Number(bytes);
}
