/** What people should know of who are not looking: an outage that lasts, and what no waiting ends. */
import type { Trouble } from '../../common/hooks.ts';
import { formatDuration } from '../../common/units.ts';
import type { Waiting } from './outage.ts';

/** Only somebody at the receiver ends these: there is nothing to wait for. */
const AT_ONCE: readonly string[] = ['no-space', 'io-error'];

export interface TroubleOptions {
  /** How long an outage lasts before it is one. */
  readonly afterMs: number;
  readonly tell: (trouble: Trouble) => void;
}

export class TroubleWatch {
  readonly #options: TroubleOptions;
  #reported: string | undefined;

  constructor(options: TroubleOptions) {
    this.#options = options;
  }

  /** To be called again and again. @param waiting undefined while nothing is wrong. */
  follow(waiting: Waiting | undefined): void {
    if (waiting === undefined) {
      this.#reported = undefined;
      return;
    }
    const { code, what, forMs } = waiting;
    if (code === this.#reported || (forMs < this.#options.afterMs && !AT_ONCE.includes(code))) return;
    this.#reported = code;
    this.#options.tell({ code, message: `${what} for ${formatDuration(forMs)}` });
  }

  /** Something that time does not repair. */
  note(trouble: Trouble): void {
    this.#options.tell(trouble);
  }
}
