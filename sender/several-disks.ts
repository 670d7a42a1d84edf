/** Several disks in one run: all are shown, and asked about, before the first byte is sent. */
import { EXIT_STATUS, TransferError, type ErrorCode } from '../common/errors.ts';
import type { TransferStatus } from '../common/protocol/protocol.ts';
import type { DiskFacts, Reporter } from './display/reporter.ts';

/** One of them. */
export interface DiskToSend {
  /** Path of the source. */
  readonly source: string;
  /** Shows its target, and asks what there is to ask. @throws TransferError to stop all of them. */
  readonly meet: () => Promise<Pick<TransferStatus, 'state' | 'target'>>;
  /** @returns the exit status. @throws TransferError. */
  readonly send: () => Promise<number>;
}

export interface SeveralParts {
  readonly reporter: Pick<Reporter, 'disk' | 'results'>;
  /** Prints why a disk has failed. @returns the exit status. */
  readonly fail: (error: TransferError) => number;
}

/** After these the next disk would fail in the same way, or wait as long. */
const OF_ALL_DISKS: readonly ErrorCode[] = [
  'interrupted',
  'connection-failed',
  'no-progress',
  'bad-answer',
  'draining',
  'pin-mismatch',
  'login-refused',
  'machine-unsuitable',
];

/**
 * What is complete already comes last: only then is the time for comparing it due. Both in the given order.
 * @returns the highest exit status of all. @throws TransferError `interrupted`; whatever `meet` throws.
 */
export async function sendSeveral(disks: readonly DiskToSend[], parts: SeveralParts): Promise<number> {
  const met: MetDisk[] = [];
  for (const [at, { source, meet, send }] of disks.entries()) {
    const { state, target } = await meet();
    const facts = { number: at + 1, count: disks.length, source, target: target.path };
    met.push({ facts, send, isComplete: state === 'sealed' });
  }
  const inOrder = [
    ...met.filter(({ isComplete }) => !isComplete),
    ...met.filter(({ isComplete }) => isComplete),
  ];
  const statuses = new Map<number, number>();
  for (const disk of inOrder) {
    parts.reporter.disk(disk.facts);
    const { status, isOfAll } = await tryToSend(disk, parts);
    statuses.set(disk.facts.number, status);
    if (isOfAll) break;
  }
  parts.reporter.results(met.map(({ facts }) => resultOf(facts, statuses.get(facts.number))));
  return Math.max(...statuses.values());
}

interface MetDisk {
  readonly facts: DiskFacts;
  readonly send: DiskToSend['send'];
  readonly isComplete: boolean;
}

async function tryToSend(
  { send }: MetDisk,
  { fail }: SeveralParts,
): Promise<{ status: number; isOfAll: boolean }> {
  try {
    return { status: await send(), isOfAll: false };
  } catch (error) {
    if (!(error instanceof TransferError) || error.kind === 'interrupted') throw error;
    return { status: fail(error), isOfAll: OF_ALL_DISKS.includes(codeOf(error)) };
  }
}

/** Of what was waited for in vain, as far as it is known. */
function codeOf({ code, cause }: TransferError): ErrorCode {
  return code === 'no-progress' && cause instanceof TransferError ? cause.code : code;
}

/** `1 of 2: /dev/sda to /dev/vdb: verified`. */
function resultOf({ number, count, source, target }: DiskFacts, status: number | undefined): string {
  const result =
    status === undefined
      ? 'not begun'
      : status === EXIT_STATUS.verified
        ? 'verified'
        : status === EXIT_STATUS.unproven
          ? 'finished, not proven'
          : `failed (exit status ${status})`;
  return `${number} of ${count}: ${source} to ${target}: ${result}`;
}
