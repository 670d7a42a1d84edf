/** A ddt-send that this process has started, here or on the machine of the source: fed, heard, and ended. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { FLEET_BEAT_MS, fleetLine, type FleetLine } from '../common/fleet-lines.ts';
import { parseRecord } from '../common/records.ts';
import type { Limit } from '../common/bandwidth/bandwidth-schedule.ts';

/** It says that it was interrupted, and closes its connections. */
const END_MS_MAX = 15_000;
/** More than a sender writes: memory is not for a machine that never ends its line. */
const LINE_BYTES_MAX = 16 * 1024 * 1024;
/** The same for digests that never end: those of 16,777,216 blocks, 64 TiB of the usual size. */
const DIGESTS_BYTES_MAX = 512 * 1024 * 1024;

export interface HandedOver {
  readonly status: number;
  readonly json: string;
  readonly signature: string;
  readonly digests: Buffer;
}

export interface SenderEvents {
  /** A line of `--progress json`. */
  onEvent(event: Readonly<Record<string, unknown>>): void;
  /** A line of standard error. */
  onWords(line: string): void;
  /** The sender waits until {@link SenderProcess.receiptKept} is called. */
  onReceipt(receipt: HandedOver): void;
}

export class SenderProcess {
  /** The exit status, also that of ssh; undefined: it was killed, or could not be started. Never rejects. */
  readonly ended: Promise<number | undefined>;
  readonly #child: ChildProcess;
  readonly #events: SenderEvents;
  readonly #beat: NodeJS.Timeout;
  #digests: Buffer[] = [];
  #digestsBytes = 0;

  /**
   * @param child with pipes, in a group of its own: no key of the terminal reaches it.
   * @param mark the line after which its output begins; undefined: at once.
   */
  constructor(child: ChildProcess, mark: string | undefined, events: SenderEvents) {
    this.#child = child;
    this.#events = events;
    this.#beat = setInterval(() => this.#say({}), FLEET_BEAT_MS);
    // It may end before it has read everything.
    child.stdin?.on('error', () => {});
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => {
        events.onWords(error.message);
        clearInterval(this.#beat);
        resolve(undefined);
      });
      child.once('close', (status) => {
        clearInterval(this.#beat);
        resolve(status ?? undefined);
      });
    });
    this.#read(mark);
  }

  /** Of its line, from this moment on. */
  setLimit(limit: Limit): void {
    this.#say({ limit: limit ?? null });
  }

  receiptKept(): void {
    this.#say({ isReceiptKept: true });
  }

  /** Asks it to end: it can be resumed. */
  end(): void {
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_MS_MAX);
    void this.ended.then(() => clearTimeout(timer));
  }

  #say(line: FleetLine): void {
    if (this.#child.stdin?.writable === true) this.#child.stdin.write(fleetLine(line));
  }

  #read(mark: string | undefined): void {
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error('its outputs are pipes');
    let isBegun = mark === undefined;
    let lineBytes = 0;
    stdout.on('data', (chunk: Buffer) => {
      const end = chunk.lastIndexOf('\n');
      lineBytes = end < 0 ? lineBytes + chunk.length : chunk.length - end - 1;
      if (lineBytes > LINE_BYTES_MAX) this.#child.kill('SIGKILL');
    });
    createInterface({ input: stdout }).on('line', (line) => {
      if (isBegun) this.#take(line);
      // What a login shell prints comes before it.
      else isBegun = line === mark;
    });
    createInterface({ input: stderr }).on('line', (line) => this.#events.onWords(line));
  }

  #take(line: string): void {
    const value = parseRecord(line);
    if (value === undefined) return;
    const { event, base64, status, json, signature } = value;
    if (event === 'digests') {
      if (typeof base64 !== 'string') return;
      const part = Buffer.from(base64, 'base64');
      this.#digestsBytes += part.length;
      if (this.#digestsBytes > DIGESTS_BYTES_MAX) this.#child.kill('SIGKILL');
      else this.#digests.push(part);
    } else if (event === 'receipt') {
      const digests = Buffer.concat(this.#digests);
      this.#digests = [];
      if (typeof status === 'number' && typeof json === 'string' && typeof signature === 'string')
        this.#events.onReceipt({ status, json, signature, digests });
    } else if (typeof event === 'string') this.#events.onEvent(value);
  }
}
