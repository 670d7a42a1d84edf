/**
 * A sender that a ddt-fleet has started: its limit comes from there, its receipt goes there, and it ends when
 * nobody is there any more.
 */
import { createInterface } from 'node:readline';
import type { Limit } from '../common/bandwidth/bandwidth-schedule.ts';
import { TransferError } from '../common/errors.ts';
import {
  DIGESTS_CHUNK_BYTES,
  FLEET_SILENCE_MS_MAX,
  fleetLine,
  type SteeredLine,
} from '../common/fleet-lines.ts';
import type { TextOutput } from '../common/io/terminal-output.ts';
import { parseRecord } from '../common/records.ts';
import type { Seal } from './client/receiver-port.ts';

export class Steered {
  readonly #out: TextOutput;
  readonly #begun = Promise.withResolvers<void>();
  readonly #kept = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<never>();
  #limit: Limit;
  #silence: NodeJS.Timeout | undefined;

  private constructor(out: TextOutput) {
    this.#out = out;
    this.#gone.promise.catch(() => {});
    const lines = createInterface({ input: process.stdin });
    lines.on('line', (line) => this.#take(line));
    lines.once('close', () => this.#end());
    process.stdin.on('error', () => this.#end());
    this.#listen();
  }

  /** @param out standard output. @throws TransferError when nobody is at the other end of standard input. */
  static async open(out: TextOutput): Promise<Steered> {
    const steered = new Steered(out);
    await Promise.race([steered.#begun.promise, steered.#gone.promise]);
    return steered;
  }

  /** Of this moment. */
  get bytesPerSecond(): Limit {
    return this.#limit;
  }

  /** @param end called once, when nobody is there any more. */
  onGone(end: () => void): void {
    this.#gone.promise.catch(end);
  }

  /**
   * Hands the receipt over. Resolves when it is safe there.
   * @param status that this process is about to exit with.
   * @throws TransferError `interrupted` when nobody takes it: the next run has to make it again.
   */
  async handOver({ text, signature }: Seal, digests: Buffer | undefined, status: number): Promise<void> {
    if (digests === undefined) throw new Error('the digests were not fetched');
    for (let at = 0; at < digests.length; at += DIGESTS_CHUNK_BYTES) {
      const base64 = digests.toString('base64', at, at + DIGESTS_CHUNK_BYTES);
      await this.#say({ event: 'digests', base64 });
    }
    await this.#say({ event: 'receipt', status, json: text, signature });
    await Promise.race([this.#kept.promise, this.#gone.promise]);
  }

  /** Waits until it was taken: a line that is lost would damage the receipt. */
  async #say(line: SteeredLine): Promise<void> {
    await Promise.race([this.#out.drain(), this.#gone.promise]);
    if (!this.#out.write(fleetLine(line))) await this.#gone.promise;
  }

  #take(line: string): void {
    const value = parseRecord(line);
    if (value === undefined) return;
    this.#listen();
    const { limit, isReceiptKept } = value;
    if (limit === null || typeof limit === 'number') {
      this.#limit = limit ?? undefined;
      this.#begun.resolve();
    }
    if (isReceiptKept === true) this.#kept.resolve();
  }

  /** Somebody is there; for how long, the next line shows. */
  #listen(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#end(), FLEET_SILENCE_MS_MAX);
  }

  #end(): void {
    clearTimeout(this.#silence);
    const message = 'the ddt-fleet that has started this ddt-send is gone';
    this.#gone.reject(new TransferError('interrupted', message));
  }
}
