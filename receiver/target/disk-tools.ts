/**
 * System calls that Node does not have: programs of the system make them on the target's descriptor. They
 * open it once more by `/dev/fd`, for which the receiver soon has no right (receiver/privileges.ts). So a
 * shell is started with the target that keeps the rights of the start, and does nothing but this on request.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import type { FileHandle } from 'node:fs/promises';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { TransferError } from '../../common/errors.ts';
import { TOOL_FILE, toolPath } from '../../common/system-tools.ts';

/** Of a shell that finds a program but can't run it, or finds none (POSIX, Exit Status for Commands). */
const STATUSES_NOT_RUN: readonly number[] = [126, 127];
/** fallocate(1) reports EOPNOTSUPP, ENOSYS and ENOTTY only in words. */
const NOT_SUPPORTED = /not supported|unsupported|not implemented|Inappropriate ioctl/i;

/**
 * A line for each request, and a line back: exit status and the first line of what the program complained of.
 * Ctrl-C is for the receiver, which needs the tools until its last request has ended.
 */
const SCRIPT = String.raw`
trap '' ALRM HUP INT PIPE QUIT TERM USR1 USR2
line_end='
'
is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac; }
while read -r tool offset length; do
  complaint=
  case $tool in
    punch)
      is_number "$offset" && is_number "$length" &&
        complaint=$(fallocate --punch-hole --keep-size -o "$offset" -l "$length" ${TOOL_FILE} 2>&1)
      ;;
    drop) complaint=$(dd if=${TOOL_FILE} iflag=nocache count=0 status=none 2>&1) ;;
    *) false ;;
  esac
  printf '%d %s\n' $? "${'$'}{complaint%%"$line_end"*}"
done`;

interface Answer {
  readonly status: number;
  readonly complaint: string;
}

/** Somebody has killed the shell: zeros are written instead of punched, but nothing is read from a cache. */
const HAS_ENDED: Answer = { status: 1, complaint: 'not supported: the shell has ended' };

export class DiskTools {
  readonly #child: ChildProcess;
  readonly #requests: Socket;
  readonly #answers: Socket;
  readonly #waiting: PromiseWithResolvers<Answer>[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #hasEnded = false;

  /** @param handle of the target, open for writing; the tools get a descriptor of their own. */
  constructor(handle: FileHandle) {
    const env = { LC_ALL: 'C', PATH: toolPath(process.env['PATH']) };
    const child = spawn('/bin/sh', ['-c', SCRIPT], { env, stdio: ['pipe', 'pipe', 'ignore', handle.fd] });
    this.#child = child;
    [this.#requests, this.#answers] = [socketOf(child.stdin), socketOf(child.stdout)];
    child.once('error', () => this.#end());
    child.once('close', () => this.#end());
    // Its end fails the requests that it has not read any more.
    this.#requests.on('error', () => {});
    createInterface({ input: this.#answers }).on('line', (line) => this.#answer(line));
    for (const each of [child, this.#requests, this.#answers]) each.unref();
  }

  /**
   * fallocate(2) with FALLOC_FL_PUNCH_HOLE: the range then reads as zeros. On devices the kernel supports it
   * only where the device does it fast. `failed` may succeed the next time: EBUSY while something reads the
   * range.
   * @throws TransferError `target-refused` without fallocate(1).
   */
  async punchHole(offset: number, lengthBytes: number): Promise<'done' | 'failed' | 'not-supported'> {
    const { status, complaint } = await this.#run('fallocate', `punch ${offset} ${lengthBytes}`);
    if (status === 0) return 'done';
    return NOT_SUPPORTED.test(complaint) ? 'not-supported' : 'failed';
  }

  /**
   * posix_fadvise(2) with POSIX_FADV_DONTNEED for the whole file: what was flushed leaves the page cache.
   * @returns whether it worked. @throws TransferError `target-refused` without dd(1).
   */
  async dropFromCache(): Promise<boolean> {
    return (await this.#run('dd', 'drop')).status === 0;
  }

  /** Resolves when the descriptor of the tools is closed. */
  async close(): Promise<void> {
    this.#child.ref();
    this.#answers.ref();
    this.#requests.end();
    await this.#ended.promise;
  }

  async #run(program: string, request: string): Promise<Answer> {
    if (this.#hasEnded) return HAS_ENDED;
    const waiting = Promise.withResolvers<Answer>();
    this.#waiting.push(waiting);
    this.#answers.ref();
    this.#requests.write(`${request}\n`);
    const answer = await waiting.promise;
    if (STATUSES_NOT_RUN.includes(answer.status)) {
      throw new TransferError('target-refused', `cannot run ${program}: ${answer.complaint}`);
    }
    return answer;
  }

  #answer(line: string): void {
    const [status = '', ...words] = line.split(' ');
    this.#waiting.shift()?.resolve({ status: Number(status), complaint: words.join(' ') });
    if (this.#waiting.length === 0) this.#answers.unref();
  }

  #end(): void {
    this.#hasEnded = true;
    this.#ended.resolve();
    for (const { resolve } of this.#waiting.splice(0)) resolve(HAS_ENDED);
  }
}

/** The pipes of a child process are sockets (child_process, `subprocess.stdin`). */
function socketOf(stream: unknown): Socket {
  assert(stream instanceof Socket);
  return stream;
}
