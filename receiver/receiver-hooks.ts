/** What people learn of a receiver that they are not looking at: each seal, and what keeps it from one. */
import type { Clock } from '../common/clock.ts';
import { TransferError, exitStatusOf } from '../common/errors.ts';
import { Hooks, type HookOptions, type Trouble } from '../common/hooks.ts';
import { equalText } from '../common/protocol/read-back.ts';
import { formatSize } from '../common/units.ts';
import type { Log } from './console/log.ts';
import type { ReceiverEvents } from './start.ts';
import type { Transfer } from './transfer/transfer.ts';

export interface ReceiverHookOptions {
  readonly hooks: HookOptions;
  readonly targets: readonly string[];
}

export interface ReceiverHookParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly ring: (() => void) | undefined;
}

export class ReceiverHooks implements Pick<ReceiverEvents, 'onReceipt' | 'onTrouble'> {
  readonly #hooks: Hooks;
  readonly #targets: string;

  constructor({ hooks, targets }: ReceiverHookOptions, { clock, log, ring }: ReceiverHookParts) {
    const warn = (warning: string): void => log.warning(warning);
    this.#hooks = new Hooks(hooks, { program: 'ddt-receive', clock, warn, ring });
    this.#targets = targets.join(', ');
  }

  readonly onTrouble = (trouble: Trouble): void => this.#hooks.trouble(trouble);

  readonly onReceipt = ({ opened, target, generation }: Transfer, path: string | undefined): void => {
    if (opened === undefined) return;
    const { blockCount, geometry, claim, verifier } = opened;
    const again = generation === 1 ? '' : `, generation ${generation}`;
    const how = verifier === undefined ? 'NOT read back' : equalText(verifier.method);
    const size = `${blockCount} blocks, ${formatSize(geometry.sizeBytes)}`;
    this.#hooks.ended({
      result: 'sealed',
      code: 'sealed',
      message: `${size}, on ${target.identity.path}: sealed${again}, ${how}`,
      source: claim.source.path === '' ? claim.source.description : claim.source.path,
      target: target.identity.path,
      receipt: path,
    });
  };

  /** The process ends with this. */
  failed(error: unknown): void {
    if (error instanceof TransferError && error.kind === 'interrupted') return;
    this.#hooks.ended(this.#failure(error));
  }

  /** @param isLast no other transfer continues: the process ends without waiting for the command. */
  journalFailed(error: TransferError, isLast: boolean): void {
    const { code, message, hint } = error;
    if (isLast) this.#hooks.endedNow(this.#failure(error));
    else this.#hooks.trouble({ code, message, hint });
  }

  /** Resolves when all commands have ended. */
  async finish(): Promise<void> {
    await this.#hooks.finish();
  }

  #failure(error: unknown): Trouble & { result: 'failed'; status: number } {
    const isKnown = error instanceof TransferError;
    return {
      result: 'failed',
      status: isKnown ? exitStatusOf(error.kind) : 1,
      code: isKnown ? error.code : 'bug',
      message: isKnown ? error.message : String(error),
      hint: isKnown ? error.hint : undefined,
      target: this.#targets,
    };
  }
}
