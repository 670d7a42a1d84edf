/**
 * Faults at single system calls, by strace(1). It counts calls per thread: UV_THREADPOOL_SIZE=1 leaves the
 * main thread, which writes the journal, and one more, which does all that is asynchronous.
 */
import type { Wrapping } from './processes.ts';
import { notWorking, unlessInstalled } from './requires.ts';
import { run } from './run.ts';

export interface StraceOptions {
  /** Where the log goes. */
  readonly log: string;
  /** Names of system calls, with commas. */
  readonly trace: string;
  /** Only calls on these files. */
  readonly paths?: readonly string[];
  /** Tampering, as strace's -e inject= has it: `pwrite64:signal=SIGKILL:when=3`. */
  readonly inject?: string;
  /** Log when calls began and how long they took, and which files they were about. */
  readonly isTimed?: boolean;
}

/** The pid stays that of the command: the tracer is its grandchild. */
export function strace(options: StraceOptions): Wrapping {
  const { log, trace, paths = [], inject, isTimed = false } = options;
  const under = [
    'strace',
    '-D',
    '-f',
    '-qq',
    `--output=${log}`,
    '--string-limit=0',
    '--signal=none',
    `--trace=${trace}`,
    ...(isTimed ? ['-ttt', '-T', '-y'] : []),
    ...paths.map((path) => `--trace-path=${path}`),
    // Faster, but strace 6.1 injects no signals then.
    ...(inject === undefined ? ['--seccomp-bpf'] : [`--inject=${inject}`]),
  ];
  return { under, env: { UV_THREADPOOL_SIZE: '1' } };
}

/** For `skip`: false where strace may trace. */
export const skipUnlessStrace: string | false = unlessInstalled('strace') || (await whyNoStrace());

async function whyNoStrace(): Promise<string | false> {
  const { status, stderr } = await run('strace', [
    '-D',
    '-f',
    '-qq',
    '--seccomp-bpf',
    '-o',
    '/dev/null',
    'true',
  ]);
  return status !== 0 && notWorking('strace', stderr);
}
