/** The machine of a target like `root@vm:/dev/vdd`: opened for a run, and left as it should be after it. */
import { systemClock } from '../common/clock.ts';
import { TransferError, reasonOf } from '../common/errors.ts';
import type { TextOutput } from '../common/io/terminal-output.ts';
import { printable } from '../common/text.ts';
import type { FarArguments, SendOptions } from './cli.ts';
import type { UnackedBytes } from './client/connection/unacked-bytes.ts';
import type { Reporter } from './display/reporter.ts';
import type { Seal } from './client/receiver-port.ts';
import { askToOverwrite, canAsk } from '../common/io/overwrite-question.ts';
import { openFar, type Far } from './ssh/open-far.ts';

/** How the run has ended, as far as the other machine is concerned. */
export type FarOutcome =
  /** Nothing was claimed, or nothing was to be sent. */
  | 'untouched'
  /** The same command resumes it: the receiver waits. */
  | 'open'
  /** The receiver is not needed any more; what it has recorded is. */
  | 'recorded'
  /** Nothing is needed any more. */
  | 'complete';

export interface FarMachine extends AsyncDisposable {
  readonly far: Far;
  /** Of each target. Set it before disposal; `untouched` until then. */
  readonly outcomes: FarOutcome[];
  /** The user has answered the question already. */
  readonly isConfirmed: boolean;
}

export interface FarMachineParts {
  readonly unacked: UnackedBytes;
  /** null: not known yet. */
  readonly sourceSizesBytes: readonly (number | null)[];
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  readonly err: TextOutput;
}

/** @throws TransferError; nothing is left running then. */
export async function openFarMachine(
  { remoteDir, ...args }: FarArguments,
  { connect, isConfirmed, isDryRun, isProbe, isCheck }: SendOptions,
  { reporter, signal, unacked, sourceSizesBytes, err }: FarMachineParts,
): Promise<FarMachine> {
  const { login } = args.destination;
  const isOne = args.paths.length === 1;
  const targets = args.paths.join(' or ');
  const each = args.paths.map((path, at) => ({ path, sourceSizeBytes: sourceSizesBytes[at] ?? null }));
  const isAsking = canAsk() && !isConfirmed && !isDryRun && !isProbe && !isCheck;
  let hasConfirmed = false;
  const far = await openFar(
    { ...args, base: remoteDir, direct: connect, targets: each },
    {
      unacked,
      signal,
      clock: systemClock,
      say: (fact) => reporter.fact(fact),
      warn: (warning) => reporter.warning({ warning }),
      onWords: (line) => void err.write(`${printable(line)}\n`),
      mayOverwrite: async ({ message }) => {
        // They write nothing.
        if (isDryRun || isProbe) return true;
        if (isCheck || args.first.includes('--update')) throw nothingKnown(`${targets} at ${login}`);
        if (!isAsking) return false;
        // The question is asked for each of them, when all are known; but progress is lost before.
        if (!isOne && !args.first.includes('--discard-transfer')) return true;
        reporter.fact(`note     ${message}`);
        hasConfirmed = await askToOverwrite(`${targets} at ${login}`, signal);
        if (hasConfirmed) return true;
        throw new TransferError(
          'target-refused',
          `nothing was written to ${targets}: the answer was not yes`,
        );
      },
    },
  );
  const machine = {
    far,
    outcomes: args.paths.map((): FarOutcome => 'untouched'),
    isConfirmed: hasConfirmed,
    [Symbol.asyncDispose]: async () => {
      try {
        await leave(far, outcomeOf(machine.outcomes), login, reporter);
      } catch (error) {
        reporter.warning({ warning: `cannot tidy up at ${login}: ${reasonOf(error)}` });
      } finally {
        await far[Symbol.asyncDispose]();
      }
    },
  };
  return machine;
}

/** Its record was removed at the end of the copy, or another tool made it. */
function nothingKnown(target: string): TransferError {
  return new TransferError('not-claimed', `no copy is known on ${target}: it was made without --keep`, {
    hint: 'to compare it with the source and send what differs: --adopt, instead of --check or --update',
  });
}

/** For people: the record of the seal is not kept at the other machine. */
export function receiptLine({ text }: Seal): string {
  const { sealedAt, root, receiverKey } = JSON.parse(text) as Record<string, unknown>;
  return printable(`receipt  sealed ${String(sealedAt)}, root ${String(root)}, by ${String(receiverKey)}`);
}

/** Of all targets: the receiver is needed as long as one of them is not complete. */
function outcomeOf(outcomes: readonly FarOutcome[]): FarOutcome {
  const [first = 'untouched'] = outcomes;
  if (outcomes.every((outcome) => outcome === first)) return first;
  const isOver = outcomes.every((outcome) => outcome === 'complete' || outcome === 'recorded');
  return isOver ? 'recorded' : 'open';
}

async function leave(far: Far, outcome: FarOutcome, login: string, reporter: Reporter): Promise<void> {
  const left = await far.leave(outcome);
  if (outcome === 'open')
    reporter.fact(`left     at ${login}: the receiver, which waits, and ${left.join(', ')}`);
  else if (left.length > 0) reporter.fact(`left     at ${login}: ${left.join(', ')}`);
  else reporter.fact(`left     nothing at ${login}`);
}
