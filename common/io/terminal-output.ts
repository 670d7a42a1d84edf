/**
 * Text for a person or a log, from a process that must not wait for either. Node writes to terminals
 * synchronously: one that is stopped (Ctrl-S, a frozen tmux or ssh client) would stop the whole process; and
 * what a full pipe does not take it keeps in memory without end.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import type { WriteStream } from 'node:tty';
import { errnoOf } from '../errors.ts';

/** Kept for a reader that is slow: some hundred lines. */
const BACKLOG_BYTES_MAX = 64 * 1024;
const RETRY_MS = 100;

export interface TextOutput {
  /** Whole lines. @returns false when nobody reads, and they are dropped. */
  write(text: string): boolean;
  /** Waits for the reader, however long that takes. */
  drain(): Promise<void>;
}

/** @param stream standard output or standard error, with a listener for its errors. */
export function openTextOutput(stream: WriteStream & { readonly fd: number }): TextOutput {
  const descriptor = stream.isTTY ? openAgain(stream.fd) : undefined;
  if (descriptor !== undefined) return new TerminalOutput(descriptor, stream);
  return {
    write: (text) => {
      if (stream.writableLength >= BACKLOG_BYTES_MAX) return false;
      stream.write(text);
      return true;
    },
    drain: async () => await new Promise((resolve) => stream.write('', () => resolve())),
  };
}

/**
 * The terminal once more, without blocking: the descriptor that the shell has given is the shell's own too.
 * @returns undefined where it may not be opened, as after su(1).
 */
function openAgain(descriptor: number): number | undefined {
  const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
  try {
    return openSync(`/proc/self/fd/${descriptor}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    return undefined;
  }
}

class TerminalOutput implements TextOutput {
  readonly #stream: WriteStream;
  #descriptor: number | undefined;
  #backlog = Buffer.alloc(0);
  #timer: NodeJS.Timeout | undefined;

  /** @param stream the same terminal, blocking. */
  constructor(descriptor: number, stream: WriteStream) {
    this.#descriptor = descriptor;
    this.#stream = stream;
  }

  write(text: string): boolean {
    if (this.#backlog.length >= BACKLOG_BYTES_MAX) return false;
    this.#backlog = Buffer.concat([this.#backlog, Buffer.from(text)]);
    this.#flush();
    return true;
  }

  async drain(): Promise<void> {
    this.#flush();
    const rest = this.#backlog;
    this.#backlog = Buffer.alloc(0);
    await new Promise<void>((resolve) => this.#stream.write(rest, () => resolve()));
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      while (this.#descriptor !== undefined && this.#backlog.length > 0) {
        this.#backlog = this.#backlog.subarray(writeSync(this.#descriptor, this.#backlog));
      }
    } catch (error) {
      if (errnoOf(error) === 'EAGAIN') this.#timer = setTimeout(() => this.#flush(), RETRY_MS).unref();
      else this.#close();
    }
    if (this.#descriptor === undefined) this.#backlog = Buffer.alloc(0);
  }

  /** The terminal is gone. */
  #close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}
