/** Programs of the system, which do what Node can't: where they are found, and on which file they work. */
import { spawn } from 'node:child_process';
import type { FileHandle } from 'node:fs/promises';

/** Before whatever PATH says: usually root runs them. Users other than root often lack /usr/sbin. */
const SYSTEM_FOLDERS: readonly string[] = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

/** The descriptor of {@link ToolOptions.handle} in the program's process. */
export const TOOL_FD = 3;
/** The same as a path. */
export const TOOL_FILE = `/proc/self/fd/${TOOL_FD}`;

export interface ToolOptions {
  /** The file that it works on; it inherits the descriptor, so no name can lead it to another one. */
  readonly handle?: FileHandle;
  readonly timeoutMs?: number;
  /** For its standard input, which is then closed; default nothing. */
  readonly input?: Buffer;
  /** Beside PATH and the locale. */
  readonly env?: NodeJS.ProcessEnv;
  /** What it prints on standard error, while it runs. */
  readonly onComplaint?: (text: string) => void;
}

export interface ToolOutcome {
  readonly isDone: boolean;
  readonly output: string;
  /** What it printed on standard error, in English. */
  readonly complaint: string;
}

/** Without empty and relative elements, which lead to programs in the current folder. */
export function toolPath(path: string | undefined): string {
  const more = (path ?? '').split(':').filter((folder) => folder.startsWith('/'));
  return [...SYSTEM_FOLDERS, ...more].join(':');
}

/**
 * A path at which the open file itself is opened again, whatever its name leads to by now (proc_pid_fd(5)).
 */
export function reopenPathOf({ fd }: FileHandle): string {
  return `/proc/self/fd/${fd}`;
}

/** Runs a program to its end. @throws Error with errno ENOENT when it is not installed. */
export async function runTool(
  tool: string,
  args: readonly string[],
  { handle, timeoutMs, input, env, onComplaint }: ToolOptions = {},
): Promise<ToolOutcome> {
  const child = spawn(tool, args, {
    env: { ...env, LC_ALL: 'C', PATH: toolPath(process.env['PATH']) },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', handle?.fd ?? 'ignore'],
    ...(timeoutMs !== undefined && { timeout: timeoutMs }),
  });
  const texts = { output: '', complaint: '' };
  const collect = (name: keyof typeof texts, text: string): void => {
    texts[name] += text;
    if (texts[name].length > OUTPUT_BYTES_MAX) child.kill();
  };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => collect('output', text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    collect('complaint', text);
    onComplaint?.(text);
  });
  // A program may end without having read it.
  child.stdin?.on('error', () => {}).end(input);
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ isDone: status === 0, ...texts }));
  });
}
