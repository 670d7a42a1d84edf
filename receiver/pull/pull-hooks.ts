/** What a run that pulls reports to people who are not looking: what both its sides know. */
import type { Clock } from '../../common/clock.ts';
import { EXIT_STATUS, TransferError, exitStatusOf } from '../../common/errors.ts';
import { Hooks, type Trouble } from '../../common/hooks.ts';
import type { PullOptions } from './pull.ts';
import type { PullScreen } from './pull-screen.ts';

export class PullHooks {
  readonly #hooks: Hooks;
  readonly #names: Required<Pick<Trouble, 'source' | 'target'>>;
  #lastWord: Trouble = { code: 'none', message: '' };

  constructor(
    { hooks, source, receiver }: PullOptions,
    { screen, clock }: { readonly screen: PullScreen; readonly clock: Clock },
  ) {
    this.#names = { source: source.path, target: receiver.target };
    const warn = (warning: string): void => screen.warning(warning);
    this.#hooks = new Hooks(hooks, { program: 'ddt-receive', clock, warn, ring: () => screen.ring() });
  }

  readonly onTrouble = (trouble: Trouble): void => this.#hooks.trouble({ ...trouble, ...this.#names });

  readonly onLastWord = (word: Trouble): void => {
    this.#lastWord = word;
  };

  /** @param signal aborted when the run is interrupted, which is nothing to report. @returns as it does. */
  async around(run: Promise<number>, signal: AbortSignal): Promise<number> {
    try {
      const status = await run;
      await this.#end(this.#lastWord, status, signal);
      return status;
    } catch (error) {
      const isKnown = error instanceof TransferError;
      const { code, message, hint } = isKnown
        ? error
        : { code: 'bug', message: String(error), hint: undefined };
      const status = isKnown ? exitStatusOf(error.kind) : EXIT_STATUS.bug;
      if (!signal.aborted) await this.#end({ code, message, hint }, status, signal);
      throw error;
    }
  }

  async #end(word: Trouble, status: number, signal: AbortSignal): Promise<void> {
    const isProven = status === EXIT_STATUS.verified;
    const isFinished = isProven || status === EXIT_STATUS.unproven;
    const result = isProven ? 'verified' : isFinished ? 'unproven' : 'failed';
    this.#hooks.ended({ ...word, ...this.#names, status, result });
    await this.#hooks.finish(signal);
  }
}
