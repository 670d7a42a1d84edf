/** How large disks are, here and on machines that ssh reaches; nothing is brought there for that. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { TransferError, reasonOf } from '../common/errors.ts';
import type { Destination } from '../common/ssh/destination.ts';
import { askTargetScript, valuesOf } from '../common/ssh/far-scripts.ts';
import { SshClient } from '../common/ssh/ssh-client.ts';
import { printable } from '../common/text.ts';
import type { Place } from './job.ts';

const ASK_MS_MAX = 60_000;
/** An ssh server lets in ten at a time that have not said who they are (MaxStartups). */
const AT_ONCE = 6;

/** What is known of a disk. */
export interface DiskFacts {
  /** undefined: not known. */
  readonly sizeBytes: number | undefined;
  readonly isFile: boolean;
  /** There is nothing with its name. */
  readonly isMissing: boolean;
  /** Why a copy would be refused, or why nothing is known; undefined: nothing speaks against it. */
  readonly trouble: string | undefined;
}

export interface AskParts {
  readonly sshCommand: string;
  readonly signal: AbortSignal;
  /** Called with what is known of a place, once for each. */
  readonly onFacts: (place: Place, facts: DiskFacts) => void;
}

/** Asks each machine once. Resolves when all have answered, or have not. */
export async function askSizes(places: readonly Place[], parts: AskParts): Promise<void> {
  const groups = [
    ...Map.groupBy(places, ({ far }) => (far ? `${far.login} ${far.port ?? ''}` : '')).values(),
  ];
  const ask = async (): Promise<void> => {
    for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
      await askMachine(group, parts);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
}

async function askMachine(
  places: readonly Place[],
  { sshCommand, signal, onFacts }: AskParts,
): Promise<void> {
  const script = places.map(({ path }, at) => sizeScript(path, at)).join('');
  let said: readonly string[];
  try {
    const far = places[0]?.far;
    said =
      far === undefined ? await runHere(script, signal) : await runThere(far, script, sshCommand, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof TransferError)) throw error;
    for (const place of places)
      onFacts(place, { sizeBytes: undefined, isFile: false, isMissing: false, trouble: error.message });
    return;
  }
  for (const [at, place] of places.entries()) onFacts(place, factsOf(said, at));
}

/** As before a copy, and of files, too. */
function sizeScript(path: string, at: number): string {
  return `${askTargetScript(path, at)}
if [ -f "$target" ]; then say "file${at}=$(stat -Lc %s -- "$target")"
elif [ -n "\${target##*:*}" ] && ! [ -e "$target" ]; then say "missing${at}=yes"
fi
`;
}

function factsOf(said: readonly string[], at: number): DiskFacts {
  const value = (name: string): string | undefined =>
    valuesOf(said, `${name}${at}`).find((each) => each !== '');
  const file = value('file');
  const size = value('size') ?? file;
  const [nowhere, mounted] = [value('nowhere'), value('mounted')];
  return {
    sizeBytes: size !== undefined && /^\d+$/.test(size) ? Number(size) : undefined,
    isFile: file !== undefined,
    isMissing: value('missing') !== undefined,
    trouble: nowhere !== undefined ? printable(nowhere) : mounted && `mounted on ${printable(mounted)}`,
  };
}

async function runThere(
  destination: Destination,
  script: string,
  command: string,
  signal: AbortSignal,
): Promise<string[]> {
  await using ssh = await SshClient.open({ command, destination, onWords: () => {} });
  return await ssh.run(script, { timeoutMs: ASK_MS_MAX, signal });
}

async function runHere(script: string, signal: AbortSignal): Promise<string[]> {
  const preamble = `LC_ALL=C; export LC_ALL\nsay() { printf '%s\\n' "$*"; }\n`;
  const child = spawn('/bin/sh', ['-c', preamble + script], { stdio: ['ignore', 'pipe', 'ignore'], signal });
  const failed = once(child, 'error').then(([error]) => {
    signal.throwIfAborted();
    throw new TransferError('machine-unsuitable', `cannot run a shell: ${reasonOf(error)}`);
  });
  const output = await Promise.race([text(child.stdout), failed]);
  failed.catch(() => {});
  return output.split('\n');
}
