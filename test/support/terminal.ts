/** A real terminal, as tmux(1) shows it. */
import { join } from 'node:path';
import { environment, until } from './processes.ts';
import { run, runOk } from './run.ts';

/** A terminal with a shell in it. */
export class Terminal implements AsyncDisposable {
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  static async open(folder: string, columns: number): Promise<Terminal> {
    const terminal = new Terminal(join(folder, 'tmux'));
    const size = ['-x', String(columns), '-y', '20'];
    await terminal.#tmux(
      '-f',
      '/dev/null',
      'new-session',
      '-d',
      ...size,
      "PS1='$ ' exec bash --norc --noprofile",
    );
    return terminal;
  }

  async type(line: string): Promise<void> {
    await this.#tmux('send-keys', line, 'Enter');
  }

  async press(key: string): Promise<void> {
    await this.#tmux('send-keys', key);
  }

  async resize(columns: number): Promise<void> {
    await this.#tmux('resize-window', '-x', String(columns));
  }

  /** Without the lines that are empty at the end. */
  async screen(): Promise<string[]> {
    return (await this.#tmux('capture-pane', '-p')).trimEnd().split('\n');
  }

  async title(): Promise<string> {
    return (await this.#tmux('display', '-p', '#{pane_title}')).trim();
  }

  /** What is written to it from now on, into a file. */
  async record(path: string): Promise<void> {
    await this.#tmux('pipe-pane', `exec cat > '${path}'`);
  }

  async hasCursor(): Promise<boolean> {
    return (await this.#tmux('display', '-p', '#{cursor_flag}')).trim() === '1';
  }

  /** Waits until the screen looks so. @returns its lines. */
  async shows(pattern: RegExp): Promise<string[]> {
    let lines: string[] = [];
    try {
      await until(`${pattern}`, async () => pattern.test((lines = await this.screen()).join('\n')));
    } catch (error) {
      throw new Error(`${String(error)}\n${lines.join('\n')}`, { cause: error });
    }
    return lines;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What runs on it may outlive its terminal; the second one does not wait.
    await run('tmux', ['-S', this.#socket, 'send-keys', 'C-c', 'C-c']);
    await run('tmux', ['-S', this.#socket, 'kill-server']);
  }

  async #tmux(...args: readonly string[]): Promise<string> {
    const env = environment({ LC_ALL: 'C.UTF-8', TMUX: undefined });
    return await runOk('tmux', ['-u', '-S', this.#socket, ...args], { env });
  }
}
