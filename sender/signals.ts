/** Signals: those that interrupt a run, and SIGHUP, which may or may not. */
import { closeSync, constants, openSync } from 'node:fs';
import { EXIT_STATUS, TransferError } from '../common/errors.ts';

const INTERRUPTING = [
  ['SIGINT', EXIT_STATUS.sigint],
  ['SIGTERM', EXIT_STATUS.sigterm],
] as const;

/** Nobody waits longer for Ctrl-C: connecting, or reading a bad sector, may take half a minute. */
const END_MS_MAX = 3000;

export interface Hangup {
  /** Whether the terminal is gone; otherwise somebody has sent the signal with kill(1). */
  readonly isTerminalLost: boolean;
}

export class Signals {
  readonly #controller = new AbortController();
  readonly #hadTerminal = hasTerminal();
  readonly #overdue = Promise.withResolvers<never>();
  #status: number = EXIT_STATUS.sigint;

  /** @param exit ends the process at once, when a signal comes for the second time. */
  constructor(exit: (status: number) => void) {
    for (const [name, status] of INTERRUPTING) {
      process.on(name, () => {
        if (this.signal.aborted) exit(status);
        else this.#interrupt(status);
      });
    }
  }

  /** Aborted by the first signal that interrupts. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Exit status for the signal that came. */
  get status(): number {
    return this.#status;
  }

  /** @returns as the run does, or throws the interruption when the run has not ended in time after it. */
  async bound<Result>(run: Promise<Result>): Promise<Result> {
    return await Promise.race([run, this.#overdue.promise]);
  }

  /** Until this is called SIGHUP ends the process. @param survives whether the run continues. */
  onHangup(survives: (hangup: Hangup) => boolean): void {
    process.on('SIGHUP', () => {
      const isTerminalLost = this.#hadTerminal && !hasTerminal();
      if (!survives({ isTerminalLost })) this.#interrupt(EXIT_STATUS.sighup);
    });
  }

  /** As a signal does that asks the process to end. */
  end(): void {
    this.#interrupt(EXIT_STATUS.sigterm);
  }

  #interrupt(status: number): void {
    if (this.signal.aborted) return;
    this.#status = status;
    const reason = new TransferError('interrupted', 'interrupted', {
      hint: 'run the same command again to resume',
    });
    setTimeout(() => this.#overdue.reject(reason), END_MS_MAX).unref();
    this.#controller.abort(reason);
  }
}

/** A terminal that hung up, as when ssh lost its connection, controls no process any more (tty(4)). */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}
