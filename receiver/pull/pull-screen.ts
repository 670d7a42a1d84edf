/** What a run that pulls shows: its own lines, and those of the sender there, safe to print. */
import type { LiveArea } from '../../common/io/live-area.ts';
import { canDrawOn, hasBlockCharacters } from '../../common/io/terminal-kind.ts';
import type { TextOutput } from '../../common/io/terminal-output.ts';
import type { PullHello } from '../../common/pulled-lines.ts';
import { printable, redact } from '../../common/text.ts';

export interface Outputs {
  readonly out: TextOutput;
  readonly err: TextOutput;
}

export class PullScreen {
  readonly #outputs: Outputs;
  readonly #area: LiveArea | undefined;
  #isDrawn = false;

  private constructor(outputs: Outputs, area: LiveArea | undefined) {
    this.#outputs = outputs;
    this.#area = area;
  }

  static async open(outputs: Outputs): Promise<PullScreen> {
    if (!canDrawOn(process.stderr, process.env['TERM'])) return new PullScreen(outputs, undefined);
    // Loaded where there is a terminal: no receiver starts more slowly for it.
    const { TerminalArea } = await import('../../common/io/live-area.ts');
    const write = (text: string): void => void outputs.err.write(text);
    return new PullScreen(outputs, new TerminalArea(process.stderr, write));
  }

  /** For the sender. */
  get terminal(): PullHello['terminal'] {
    if (this.#area === undefined) return null;
    return { columns: process.stderr.columns, hasBlocks: hasBlockCharacters(process.env) };
  }

  fact(text: string): void {
    this.err(`${text}\n`);
  }

  warning(text: string): void {
    this.fact(`ddt-receive: warning: ${redact(text)}`);
  }

  /** The bell of the terminal. */
  ring(): void {
    if (process.stderr.isTTY) this.#outputs.err.write('\x07');
  }

  out(text: string): void {
    this.#outputs.out.write(safe(text));
  }

  err(text: string): void {
    if (text === '') return;
    if (this.#area === undefined) this.#outputs.err.write(safe(text));
    else this.#area.print(safe(text));
  }

  /** @param lines null: what is drawn stays. */
  live(lines: readonly string[] | null): void {
    if (lines === null) this.end();
    else {
      this.#isDrawn = true;
      // They were made for the width of a moment ago.
      this.#area?.draw((columns) => lines.map((line) => printable(line).slice(0, columns - 1)));
    }
  }

  /** What is drawn stays, and nothing is drawn over it. */
  end(): void {
    if (this.#isDrawn) this.#area?.end();
    this.#isDrawn = false;
  }
}

/** Line by line: the machine of the source has written it. */
function safe(text: string): string {
  return text
    .split('\n')
    .map((line) => printable(line))
    .join('\n');
}
