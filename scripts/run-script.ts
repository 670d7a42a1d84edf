/** What all scripts share: an exit status, one sentence for what went wrong, and an orderly end on Ctrl-C. */
import { errnoOf, exitStatusOf, TransferError } from '../common/errors.ts';
import { lastWords, ProcessFailure, run, type Ended } from '../test/support/run.ts';

/** On Debian 13 and Fedora /tmp is in memory, and these scripts are about disks. */
export const TEMPORARY = process.env['TMPDIR'] ?? '/var/tmp';

/** Longer than any copy of a benchmark. */
const TOOL_TIMEOUT_MS = 86_400_000;

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Something did not hold, or cannot be done here; the message is for the person who ran the script. */
export class Failure extends Error {
  readonly exitStatus: number;

  constructor(message: string, exitStatus = 1, options: ErrorOptions = {}) {
    super(message, options);
    this.exitStatus = exitStatus;
  }
}

/** `ddt-send ended with 5: cannot read …` */
export function endedWith(name: string, ended: Ended): Failure {
  const { status, signal } = ended;
  return new Failure(`${name} ended with ${signal ?? status}: ${lastWords(ended)}`, status ?? 1);
}

/** Runs a tool of the system to its end. @returns its standard output. @throws Failure unless it exits 0. */
export async function runTool(name: string, args: readonly string[], signal: AbortSignal): Promise<string> {
  const ended = await run(name, args, { signal, timeoutMs: TOOL_TIMEOUT_MS });
  if (ended.status !== 0) throw endedWith(name, ended);
  return ended.stdout;
}

/**
 * Runs a script's work and sets the exit status. What went wrong outside is reported in one sentence, a bug
 * with its stack.
 * @param work gets a signal that Ctrl-C aborts, so that scopes end in order and clean up.
 */
export async function runScript(name: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  try {
    await work(interruption());
  } catch (error) {
    const status = statusOf(error);
    if (!(error instanceof Error) || status === undefined) throw error;
    process.stderr.write(`${name}: error: ${error.message}\n`);
    if (error instanceof TransferError && error.hint !== undefined) {
      process.stderr.write(`${name}: hint: ${error.hint}\n`);
    }
    process.exitCode = status;
  }
}

/** undefined for a bug. */
function statusOf(error: unknown): number | undefined {
  if (error instanceof Failure) return error.exitStatus;
  if (error instanceof TransferError) return exitStatusOf(error.kind);
  return error instanceof ProcessFailure || errnoOf(error) !== undefined ? 1 : undefined;
}

function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const [name, status] of Object.entries(SIGNALS)) {
    process.once(name, () =>
      controller.abort(new Failure('interrupted; temporary files have been removed', status)),
    );
  }
  return controller.signal;
}
