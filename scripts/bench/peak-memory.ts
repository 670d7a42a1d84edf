/** Peak memory of a process, which the kernel forgets when the process ends. */
import { readFileSync } from 'node:fs';
import type { Started } from '../../test/support/run.ts';

const SAMPLE_EVERY_MS = 50;

export class PeakMemory {
  /** The kernel's VmHWM at the last sample. */
  bytes = 0;
  readonly #path: string;

  /** Samples until the process ends. */
  constructor(process: Started) {
    this.#path = `/proc/${process.pid}/status`;
    const timer = setInterval(() => this.sample(), SAMPLE_EVERY_MS);
    void process.ended.finally(() => clearInterval(timer));
  }

  /** To be called just before the process is killed, too. */
  sample(): void {
    try {
      const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(this.#path, 'utf8'))?.[1];
      this.bytes = Math.max(this.bytes, Number(kibibytes ?? 0) * 1024);
    } catch {
      // The process has gone: the last sample stands.
    }
  }
}
